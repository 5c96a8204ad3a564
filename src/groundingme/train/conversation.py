"""One question and its answer as a family is asked and writes them: the tables of evaluation.

A `Convention` is what a mixture is written in. It comes from the same rows of `families.toml`, the
same prompts and the same coordinate formats by which `eval` asks and reads, so that a model is
trained in what it is then scored in.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from groundingme import geometry, prompts, resizing
from groundingme.asking import AUTO, NATIVE, prompt_for
from groundingme.errors import UsageError
from groundingme.models.families import Family, families, find_family, write_numbers
from groundingme.parsing import parse
from groundingme.registry import unknown
from groundingme.schema import Box

AS_ASKED = '{"bbox_2d": [{1}, {2}, {3}, {4}]}'
"""How a box is written where the family's own way is not known: as the unified prompt asks."""
_REJECTIONS = (('{"bbox_2d": null}', '{"bbox_2d": null}'), ("[] if", "[]"), ("null if", "null"))
"""What a prompt says about no match, and the reply that it asks for."""
_DECIMALS = re.compile(r":\.(\d)f\}")


_PROBE, _SIZE = (100.0, 200.0, 300.0, 600.0), (1000, 800)
"""A box and its picture, by which a convention is tried."""


class Convention(msgspec.Struct, frozen=True, kw_only=True):
    """How one family is asked and answers.

    Attributes:
        family: Name of its row; "" where none is known.
        title: For people.
        coords: Name of the coordinate format.
        resize: Name in `resizing.RULES` of the resize that the numbers refer to; "" for none. Who
            trains must show the image in exactly that size.
        prompt: Name of the prompt, or `custom`.
        template: The prompt, with `{description}`.
        writes: A box, with `{1}` to `{4}` for the numbers in the format's own order.
        rejects: The reply that nothing matches.
    """

    family: str
    title: str
    coords: str
    resize: str
    prompt: str
    template: str
    writes: str
    rejects: str

    @property
    def format(self) -> geometry.CoordFormat:
        """The coordinate format."""
        return geometry.coord_format(self.coords)

    def question(self, description: str) -> str:
        """The user's turn, behind the image."""
        return prompts.render(self.template, description)

    def answer(self, box: Box | None, size: tuple[int, int]) -> str:
        """The assistant's turn.

        Args:
            box: xyxy pixels of the upright original; None where nothing matches.
            size: Its width and height in pixels.
        """
        if box is None:
            return self.rejects
        numbers = self.format.from_pixels([box], size)[0].tolist()
        return write_numbers(self.writes, numbers)

    def disagrees(self, text: str, box: Box | None, size: tuple[int, int]) -> str:
        """How a reply differs from the answer it should be; "" where it does not.

        A box may differ by the rounding of the numbers that the convention writes, and no more.
        """
        said = parse(text)
        wanted = "rejected" if box is None else "box"
        if said.outcome != wanted:
            return f"{text!r}, which is read as {said.outcome} ({said.reason}), not as {wanted}"
        if box is None or said.coords is None:
            return ""
        numbers = self.format.from_pixels([box], size)[0].tolist()
        room = self.step / 2 + 1e-6
        if any(abs(a - b) > room for a, b in zip(said.coords, numbers, strict=True)):
            right = ", ".join(f"{one:g}" for one in numbers)
            return f"{text!r} for the box {list(box)}, which {self.coords} writes as {right}"
        return ""

    @property
    def step(self) -> float:
        """Distance of two numbers that can be written."""
        found = _DECIMALS.search(self.writes)
        return 10.0 ** -int(found[1]) if found else 1.0

    def told(self) -> dict[str, Any]:
        """Itself in a manifest."""
        return {
            "family": {"name": self.family, "title": self.title},
            "coords": self.coords,
            "resize": self.resize,
            "prompt": {"name": self.prompt, "template": self.template},
            "completion": {"box": self.writes, "rejected": self.rejects},
        }


def convention_of(manifest: dict[str, Any]) -> Convention:
    """The convention that a manifest tells: what `Convention.told` gave.

    Raises:
        KeyError: Something is missing.
        UnknownNameError: No such coordinate format.
    """
    told = Convention(
        family=manifest["family"]["name"],
        title=manifest["family"]["title"],
        coords=geometry.coord_format(manifest["coords"]).name,
        resize=manifest["resize"],
        prompt=manifest["prompt"]["name"],
        template=manifest["prompt"]["template"],
        writes=manifest["completion"]["box"],
        rejects=manifest["completion"]["rejected"],
    )
    if told.resize != _resize_of(told.coords):
        raise KeyError("resize")
    return told


def convention(family: str, *, coords: str = AUTO, prompt: str = AUTO) -> Convention:
    """How a family is asked and answers.

    Args:
        family: A name of `families.toml`, or a served name such as `Qwen/Qwen3-VL-8B-Instruct`.
        coords: A coordinate format instead of the family's.
        prompt: `auto`, `native`, a name in `prompts.PROMPTS`, or a text with `{description}`.

    Raises:
        UsageError: No such family, format or prompt; or how the family writes a box is not known
            and `coords` does not say it.
    """
    row = next((one for one in families() if one.name == family), None) or find_family(family)
    if row is None and coords == AUTO:
        raise UsageError(
            f"{unknown('family', family, [one.name for one in families()])}; for a model of no "
            "family say with --coords how it writes a box"
        )
    title = row.title if row else family
    if row is not None and not row.boxes:
        raise UsageError(f"expected a family that writes boxes, got {title}, which writes points")
    name, template = prompt_for(prompt, row, family)
    chosen = coords if coords != AUTO else row.coords_under(name) if row else ""
    if not chosen:
        raise UsageError(
            f"expected --coords for {title}, got none: how it writes a box is not known; "
            "groundingme calibrate finds out"
        )
    writes = (row.writes if row else "") or AS_ASKED
    if geometry.coord_format(chosen).scale == 1.0 and not _DECIMALS.search(writes):
        writes = re.sub(r"\{([1-4])\}", r"{\1:.3f}", writes)
    found = Convention(
        family=row.name if row else "",
        title=title,
        coords=chosen,
        resize=_resize_of(chosen),
        prompt=name,
        template=template,
        writes=writes,
        rejects=_rejects(row, name, template),
    )
    wrong = [found.disagrees(found.answer(box, _SIZE), box, _SIZE) for box in (None, _PROBE)]
    if found.format.scale == 1.0 and found.step == 1.0:
        wrong.append("fractions without decimals")
    if any(wrong):
        raise UsageError(
            f"expected a coordinate format that {title} can write, got {chosen}: "
            f"{next(filter(None, wrong))}"
        )
    return found


def _rejects(row: Family | None, prompt: str, template: str) -> str:
    if row and row.rejects:
        return row.rejects[0]
    if prompt == NATIVE:
        return next((reply for words, reply in _REJECTIONS if words in template), "null")
    return '{"bbox_2d": null}'


def _resize_of(coords: str) -> str:
    rule = geometry.coord_format(coords).resize
    return next((name for name, one in resizing.RULES.items() if one is rule), "")
