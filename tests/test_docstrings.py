"""Every public name says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "groundingme"
OF_OTHERS = {"forward", "upgrade", "downgrade"}
"""Names that torch and Alembic give."""
Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}


def public(body: list[ast.stmt]) -> Iterator[Defined]:
    for one in body:
        if isinstance(one, Defined) and not one.name.startswith("_"):
            yield one


def inner(defined: Defined) -> list[ast.stmt]:
    """The body of a class; what stands inside of a function is its own affair."""
    return defined.body if isinstance(defined, ast.ClassDef) else []


def test_public_names_are_documented() -> None:
    """A method may leave it to the interface that it fills, where that documents the name."""
    found = trees()
    interfaces = {
        method.name
        for tree in found.values()
        for one in public(tree.body)
        for method in public(inner(one))
        if ast.get_docstring(method)
    }
    bare: list[str] = []
    for path, tree in found.items():
        where = path.relative_to(SOURCE)
        if not ast.get_docstring(tree):
            bare.append(f"{where}")
        for one in public(tree.body):
            if not ast.get_docstring(one) and one.name not in OF_OTHERS:
                bare.append(f"{where} {one.name}")
            bare += [
                f"{where} {one.name}.{method.name}"
                for method in public(inner(one))
                if not ast.get_docstring(method) and method.name not in interfaces | OF_OTHERS
            ]
    assert not bare, "\n".join(bare)
