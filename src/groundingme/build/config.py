"""What a build is told: a TOML file with a section a stage, checked whole before any work starts.

    seed = 0
    [source]
    path = "photos"
    [tag]
    by = "fixed"
    vocabulary = "coco"

Values may also come from the command line, as `detect.threshold=0.3`. An error names the line, the
key and what is allowed there.
"""

from __future__ import annotations

import inspect
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from groundingme.errors import DataError, UsageError
from groundingme.registry import unknown

SHARD = 1000
"""Most pictures of a shard, where the configuration does not say how many."""


class Config(msgspec.Struct, frozen=True):
    """A build, in sections.

    Attributes:
        seed: Of everything that is drawn at random.
        shard: Pictures in a shard: what is lost at most when a worker dies, and what one worker
            does at a time. None: a sixteenth of all, at least 16, at most `SHARD`.
        sections: Options of each stage by its name, checked; stages that are left out have None.
    """

    seed: int
    shard: int | None
    sections: Mapping[str, msgspec.Struct | None]


class Section(msgspec.Struct, frozen=True):
    """What may stand in a section.

    Attributes:
        options: The struct that it becomes.
        check: For a section that names one of several tools with `by`: called with that name and
            the keys that the struct lacks, which go into its field `options`. Raises `UsageError`.
        needed: Whether a build without it makes no sense.
        default: Whether a build without it has it with its defaults; else that stage is left out.
    """

    options: type[msgspec.Struct]
    check: Callable[[str, dict[str, Any]], None] | None = None
    needed: bool = False
    default: bool = False


def load(
    path: str | Path | None, sections: Mapping[str, Section], overrides: Iterable[str] = ()
) -> Config:
    """Reads and checks a configuration.

    Args:
        path: Of the TOML file; None where everything comes from `overrides`.
        sections: What may stand in it.
        overrides: `SECTION.KEY=VALUE`, or `seed=VALUE`; they win over the file.

    Raises:
        UsageError: The file or a value cannot be used; nothing was started.
    """
    text = ""
    if path is not None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(
                f"expected a configuration at {path}, got no file; groundingme build init writes "
                "one"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"expected a configuration at {path}, got: {error}") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML, got: {error}") from None
    places = _Places(str(path), text)
    for override in overrides:
        _override(tree, override, places)
    return _checked(tree, sections, places)


class _Places:
    """Where a key stands, for messages."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._overrides: set[tuple[str, ...]] = set()

    def override(self, keys: tuple[str, ...]) -> None:
        self._overrides.add(keys)

    def of(self, *keys: str) -> str:
        """Such as `build.toml, line 7, detect.threshold`."""
        name = ".".join(keys)
        if keys in self._overrides:
            return name
        line = self._line(keys)
        return f"{self._path}, line {line}, {name}" if line else name

    def _line(self, keys: tuple[str, ...]) -> int:
        section, header = "", 0
        for number, line in enumerate(self._lines, 1):
            if found := re.match(r"\s*\[\s*([\w.\"-]+)\s*\]", line):
                section = found[1].strip('"')
                header = number if section == keys[0] else header
                continue
            found = re.match(r"\s*([\w.\"-]+)\s*=", line)
            if found and tuple(filter(None, (section, *found[1].split(".")))) == keys:
                return number
        return header


def _override(tree: dict[str, Any], override: str, places: _Places) -> None:
    name, equals, text = override.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys) or len(keys) > 2:
        raise UsageError(f"expected SECTION.KEY=VALUE or seed=VALUE, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if len(keys) == 1:
        tree[keys[0]] = value
    else:
        section = tree.setdefault(keys[0], {})
        if isinstance(section, dict):
            section[keys[1]] = value
    places.override(keys)


def _checked(tree: dict[str, Any], sections: Mapping[str, Section], places: _Places) -> Config:
    for key, value in tree.items():
        if key in ("seed", "shard"):
            least = 0 if key == "seed" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(
                    f"{places.of(key)}: expected a whole number of {least} or more, got {value!r}"
                )
        elif key not in sections:
            error = unknown("section of a build", key, [*sections, "seed", "shard"])
            raise UsageError(f"{places.of(key)}: {error}")
        elif not isinstance(value, dict):
            raise UsageError(f"{places.of(key)}: expected a section [{key}], got {value!r}")
    for name, section in sections.items():
        if section.needed and name not in tree:
            raise UsageError(f"expected a section [{name}] in the configuration, got none; add it")
    return Config(
        tree.get("seed", 0),
        tree.get("shard"),
        {
            name: _section(name, section, dict(tree.get(name, {})), places)
            if name in tree or section.default
            else None
            for name, section in sections.items()
        },
    )


def _section(
    name: str, section: Section, values: dict[str, Any], places: _Places
) -> msgspec.Struct:
    fields = {one.name: one for one in msgspec.structs.fields(section.options)}
    if section.check:
        rest = {key: values.pop(key) for key in list(values) if key not in fields}
        values["options"] = rest
    for key, value in values.items():
        if key not in fields:
            raise UsageError(f"{places.of(name, key)}: {unknown('key', key, fields)}")
        try:
            msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{places.of(name, key)}: expected {allowed(fields[key].type)}, got {value!r}"
                + ("" if _names_all(error) else f" ({_said(error)})")
            ) from None
    try:
        options = msgspec.convert(values, section.options)
    except msgspec.ValidationError as error:
        said = _said(error)
        blamed = [key for key, value in values.items() if _is_blamed(value, said)]
        raise UsageError(f"{places.of(name, *blamed[:1])}: {said}") from None
    if section.check:
        try:
            section.check(str(getattr(options, "by", "")), rest)
        except UsageError as error:
            said = str(error)
            named = [key for key in rest if repr(key) in said]
            shown = [key for key, value in rest.items() if _is_blamed(value, said)]
            key = [*named, *shown, "by"][0]
            raise UsageError(f"{places.of(name, key)}: {error}") from None
    return options


def _said(error: Exception) -> str:
    text = re.sub(r" - at `.*`$", "", str(error))
    return re.sub(r"^Object missing required field `(.*)`$", r"expected \1, got none; add it", text)


def _is_blamed(value: Any, said: str) -> bool:
    """Whether a message shows a value, or one of a list or table."""
    if isinstance(value, list | dict) and any(_is_blamed(one, said) for one in value):
        return True
    return not isinstance(value, bool | int | float) and bool(value) and repr(value) in said


def _names_all(error: Exception) -> bool:
    """Whether the message says no more than the type does."""
    return str(error).startswith(("Expected", "Invalid enum"))


def allowed(kind: Any) -> str:
    """A type of a setting in words.

    >>> allowed(typing.Literal["a", "b"])
    'one of a, b'
    >>> allowed(int | None)
    'a whole number'
    """
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        dict: "a table",
    }
    if kind in words:
        return words[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return allowed(inner[0]) + "".join(map(_bounds, inner[1:]))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(allowed(one) for one in inner if one is not types.NoneType)
    if origin in (list, tuple):
        return f"a list of {allowed(inner[0])}"
    if origin is dict:
        return f"a table of {allowed(inner[1])}"
    return getattr(kind, "__name__", str(kind))


def _bounds(meta: Any) -> str:
    said = []
    for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        value = getattr(meta, name, None)
        if value is not None:
            said.append(f"{words} {value}")
    return f" {' and '.join(said)}" if said else ""


def check_options(kind: str, name: str, make: Callable[..., Any], options: dict[str, Any]) -> None:
    """Whether a tool takes these keyword arguments, without making it.

    Raises:
        UsageError: It lacks one of them, or one that it needs is not given; the known ones are
            listed.
    """
    takes = {
        one.name: one
        for one in inspect.signature(make).parameters.values()
        if one.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    }
    for option in options:
        if option not in takes:
            raise UsageError(str(unknown(f"option of the {kind} {name}", option, takes)))
    for one in takes.values():
        if one.default is inspect.Parameter.empty and one.name not in options:
            raise UsageError(f"expected {one.name} for the {kind} {name}, got none; add it")
