"""Model families: how each writes a box, is asked, thinks and takes images.

One row of `families.toml` is one `Family`; the top of that file says what its fields mean. A model
finds its row by the name that a server knows it by:

>>> find_family("Qwen/Qwen3-VL-8B-Instruct-FP8").coords
'n1000'
>>> find_family("my-own-model") is None
True
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from groundingme import geometry, prompts, resizing
from groundingme.errors import UsageError
from groundingme.images import ImageRule
from groundingme.models import Thinking

GRADES = {
    "V": "the vendor's documents or code",
    "S": "a third party",
    "K": "general knowledge, unchecked",
    "?": "not found, or not sure",
}
"""Where a fact is known from, by the first letter of its remark."""

_NUMBER = re.compile(r"\{([1-4])(:[^{}]*)?\}")
_BUDGET = "{budget}"


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What switches thinking; nothing at all where the model does so by itself.

    Attributes:
        extra: Fields of an OpenAI-compatible request; the string `{budget}` stands for a budget.
        suffix: At the very end of the user's turn.
        system: System prompt.
        served: Regular expression that the served name must match, in any case.
    """

    extra: dict[str, Any] = {}
    suffix: str = ""
    system: str = ""
    served: str = ""

    def spent(self, budget: int) -> Way:
        """The same with the budget in its place."""
        return msgspec.structs.replace(self, extra=_filled(self.extra, budget))


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How thinking is switched.

    Attributes:
        how: In words.
        shows: How reasoning shows in a reply; "" where that is not known or there is none.
        on: None where it cannot be had; so are the others.
        off: Without thinking.
        budget: With at most so many tokens.
    """

    how: str
    shows: str = ""
    on: Way | None = None
    off: Way | None = None
    budget: Way | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sampling that the vendor advises; shown, never applied, as the benchmark is greedy."""

    instruct: dict[str, float] = {}
    thinking: dict[str, float] = {}


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table.

    Attributes:
        name: Short and stable.
        title: For people.
        match: Regular expressions, searched in the served name where a word begins.
        facts: Where each fact is known from: a grade of `GRADES`, then a remark.
        coords: Name of its coordinate format; "" where it must be calibrated.
        prompt: What `auto` asks: a name in `prompts.PROMPTS`, or `native`.
        writes: How it writes a box: see `write`; "" where that is not known.
        rejects: How it writes that nothing matches; empty where it does as the prompt asks.
        native: Its own prompt, with `{description}`; "" where none is known.
        native_coords: Coordinate format under `native`, where that is another.
        boxes: Whether it can write boxes at all.
        thinking: None where nothing is known of it.
        sampling: What the vendor advises.
        image: What its coordinates and server ask of an image.
        paper: Its models in the GroundingME paper.
    """

    name: str
    title: str
    match: list[str]
    facts: dict[str, str]
    coords: str
    prompt: str = "unified"
    writes: str = ""
    rejects: list[str] = []
    native: str = ""
    native_coords: str = ""
    boxes: bool = True
    thinking: Switch | None = None
    sampling: Sampling = Sampling()
    image: ImageRule = ImageRule()
    paper: list[str] = []

    def grade(self, fact: str) -> str:
        """`V`, `S`, `K` or `?`."""
        return self.facts.get(fact, "?")[0]

    def matches(self, served: str) -> bool:
        """Whether a served name belongs to this family."""
        return any(_pattern(one).search(served) for one in self.match)

    def coords_under(self, prompt: str) -> str:
        """Name of the coordinate format under a prompt's name; "" where none is known."""
        return (self.native_coords if prompt == "native" else "") or self.coords

    def write(self, numbers: Sequence[float]) -> str:
        """A box as the family writes it: see `write_numbers`."""
        return write_numbers(self.writes, numbers)

    def way(self, thinking: Thinking, served: str) -> Way:
        """What a thinking setting asks of a request.

        Args:
            thinking: `on`, `off`, a budget in tokens, or None for the model's own way.
            served: The name that the server knows the model by.

        Raises:
            UsageError: The family has no such way, or another checkpoint must be served.
        """
        if thinking is None:
            return Way()
        kind = thinking if isinstance(thinking, str) else "budget"
        switch = self.thinking
        if switch is None:
            raise UsageError(
                f"expected no --thinking for {self.title}, got {thinking}: how it is switched is "
                "not known; leave it out, or send your server's own switch with --extra-body"
            )
        found: Way | None = getattr(switch, kind)
        if found is None:
            able = [name for name in ("on", "off", "budget") if getattr(switch, name) is not None]
            raise UsageError(
                f"expected --thinking {' or '.join(able)} for {self.title}, got {thinking}: "
                f"{switch.how}"
            )
        if found.served and not re.search(found.served, served, re.IGNORECASE):
            raise UsageError(
                f"expected a checkpoint of {self.title} named {found.served!r} for thinking "
                f"{thinking}, got {served!r}: {switch.how}; name that one"
            )
        return found.spent(thinking) if isinstance(thinking, int) else found


def write_numbers(template: str, numbers: Sequence[float]) -> str:
    """A box in a family's wrapper.

    Args:
        template: With `{1}` to `{4}` for the numbers, as Python formats them.
        numbers: Four, in the family's own order and space; rounded to whole numbers where the
            template does not say otherwise.
    """

    def one(match: re.Match[str]) -> str:
        value = numbers[int(match[1]) - 1]
        spec = (match[2] or ":")[1:]
        return format(value if spec.endswith("f") else round(value), spec)

    return _NUMBER.sub(one, template)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    family: list[Family]


def families() -> tuple[Family, ...]:
    """Every row, in the order of the file."""
    return _shipped()


def find_family(served: str) -> Family | None:
    """The family of a served name; None where no row matches, or several do."""
    found = matching(served)
    return found[0] if len(found) == 1 else None


def matching(served: str) -> list[Family]:
    """Every row that a served name matches; more than one says that the name is ambiguous."""
    return [one for one in families() if one.matches(served)]


def parse_thinking(value: str | int | bool | None) -> Thinking:
    """`on`, `off`, a budget of 1 or more tokens, or None, from what a user writes.

    Raises:
        UsageError: It is none of these.
    """
    if value is None:
        return None
    if value in ("on", True):
        return "on"
    if value in ("off", False):
        return "off"
    digits = str(value).replace(",", "").replace("_", "")
    if not digits.isascii() or not digits.isdigit() or not int(digits):
        raise UsageError(f"expected thinking on, off, or a budget of tokens, got {value!r}")
    return int(digits)


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{text})", re.IGNORECASE)


@functools.cache
def _shipped() -> tuple[Family, ...]:
    return read_families(Path(__file__).with_name("families.toml"))


def read_families(path: Path) -> tuple[Family, ...]:
    """The rows of a table, checked.

    Raises:
        UsageError: The file or a row of it cannot be used; the message says which and why.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = msgspec.convert(tomllib.loads(text), _Table).family
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"expected [[family]] rows in {path}, got: {error}") from None
    names = [row.name for row in rows]
    for row in rows:
        wrong = "its name stands twice" if names.count(row.name) > 1 else _wrong(row)
        if wrong:
            raise UsageError(f"expected a sound row of {row.name!r} in {path}, got: {wrong}")
    return tuple(rows)


def _wrong(row: Family) -> str:
    """What is wrong with a row; "" where nothing is."""
    try:
        for pattern in row.match:
            _pattern(pattern)
    except re.error as error:
        return f"match {pattern!r}: {error}"
    for name in filter(None, (row.coords, row.native_coords)):
        if name not in geometry.COORD_FORMATS:
            return f"no coordinate format is named {name!r}"
    if row.prompt not in (*prompts.PROMPTS, "native"):
        return f"prompt {row.prompt!r} is neither native nor in prompts.PROMPTS"
    if row.prompt == "native" and not row.native:
        return "prompt native without a native prompt"
    if row.native and "{description}" not in row.native:
        return "a native prompt without {description}"
    if row.writes and sorted(one[1] for one in _NUMBER.finditer(row.writes)) != list("1234"):
        return f"writes {row.writes!r} does not have each of {{1}} to {{4}} once"
    if row.image.resize and row.image.resize not in resizing.RULES:
        return f"no resize rule is named {row.image.resize!r}"
    stated: Mapping[str, object] = {
        "coords": True,
        "writes": row.writes,
        "rejects": row.rejects,
        "native": row.native,
        "thinking": row.thinking,
        "sampling": row.sampling != Sampling(),
        "image": row.image != ImageRule(),
    }
    needed = {name for name, there in stated.items() if there}
    if set(row.facts) != needed:
        return f"facts on {sorted(row.facts)}, where the row states {sorted(needed)}"
    for fact, remark in row.facts.items():
        if remark[:1] not in GRADES or not re.fullmatch(r".|.[:;] .+", remark):
            return f"the fact {fact} does not begin with one of {', '.join(GRADES)}: {remark!r}"
    return ""


def _filled(value: Any, budget: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(inner, budget) for key, inner in value.items()}
    return budget if value == _BUDGET else value
