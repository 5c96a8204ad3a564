"""The house as docs/design.md draws it: layers, light imports, and modules of readable size."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "groundingme"
LIGHT = {"click", "msgspec", "numpy"}
RECIPE = {
    "plugins": {"inspect_ai"},
    "train": {"PIL", "onnx", "torch", "transformers"},
    "studio": {"alembic", "fastapi", "pydantic", "sqlalchemy", "starlette"},
}
"""What the recipes of a room may import at once: nothing imports a recipe but who runs it."""
OUTSIDE = {"__init__", "__main__"}


def drawn() -> dict[str, int]:
    """Layer by top-level name, from the block in the design document."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    block = re.search(r"## Layers.*?```\n(.*?)```", text, re.DOTALL)
    assert block
    layers: dict[str, int] = {}
    layer = -1
    for line in block[1].splitlines():
        match = re.match(r"(\d+| ) (\w+)(?:\.py|/) ", line)
        assert match, line
        layer = int(match[1]) if match[1].strip() else layer
        layers[match[2]] = layer
    return layers


LAYERS = drawn()
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.Module) -> set[str]:
    """Dotted names that importing the module imports."""
    found: set[str] = set()
    stack: list[ast.stmt] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_type_checking(
            node
        ):
            stack += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def test_every_room_is_drawn_and_every_drawn_room_is_there() -> None:
    there = {room(path) for path in MODULES} - OUTSIDE
    assert there == set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    here = room(path)
    for name in imports(ast.parse(text)):
        top, _, rest = name.partition(".")
        if top != "groundingme":
            light = LIGHT | RECIPE.get(here, set())
            assert top in light or top in sys.stdlib_module_names, f"import {name} in a function"
            continue
        target = rest.partition(".")[0]
        if here in OUTSIDE or target in ("", "__version__", here):
            continue
        assert LAYERS[target] < LAYERS[here], f"{here} must not import {target}"
        assert target not in RECIPE, f"import {target} in a function"


def test_the_rule_can_fail() -> None:
    tree = ast.parse(
        "import PIL\nif True:\n    from groundingme.cli import main\ndef f():\n    import x"
    )
    assert imports(tree) == {"PIL", "groundingme.cli.main"}
