"""How a model is asked and its boxes are read: by what was given, measured, or known of its family.

For coordinates, the first of these that says something counts:

===============  =============================================================================
given            `coords` is the name of a format
provider         built-in models, baselines and scripts write pixels whatever their name
calibration      `groundingme calibrate` found out what this model writes under this prompt
family           the model's row in `models/families.toml`
default          `abs`, as the unified prompt implies, with a warning
===============  =============================================================================
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from groundingme import geometry, prompts, readings
from groundingme.errors import UsageError
from groundingme.images import ImageRule
from groundingme.models import Model, Thinking
from groundingme.models.families import GRADES, Family, Way, matching, parse_thinking

AUTO = "auto"
NATIVE = "native"

Source = Literal["given", "provider", "calibration", "family", "default"]


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided for one model.

    Attributes:
        model: `PROVIDER/NAME`.
        family: Its row, or None.
        coords: Name of the coordinate format.
        source: Who said so.
        why: The same in words.
        warning: One line that the user should read; "" for none.
        prompt: Name of the prompt, or `custom`.
        plain: The prompt's template.
        template: The same with whatever the family hangs on to its end.
        thinking: As asked for.
        system: System prompt; "" for none.
        extra: Further fields of an OpenAI-compatible request.
        image: What is asked of images.
    """

    model: str
    family: Family | None
    coords: str
    source: Source
    why: str
    warning: str
    prompt: str
    plain: str
    template: str
    thinking: Thinking
    system: str
    extra: dict[str, Any]
    image: ImageRule

    def settings(self) -> dict[str, Any]:
        """What changes the question beyond the prompt: part of a run's identity."""
        image = {
            "resize": self.image.resize,
            "max_bytes": self.image.max_bytes,
        }
        parts: dict[str, Any] = {
            "thinking": self.thinking,
            "system": self.system,
            "extra": self.extra,
            "image": {name: value for name, value in image.items() if value},
        }
        return {name: value for name, value in parts.items() if value}


def served_name(model: str) -> str:
    """What stands behind `PROVIDER/`; the whole where there is no provider."""
    return model.partition("/")[2] or model


def resolve(
    model: Model,
    *,
    coords: str = AUTO,
    prompt: str = AUTO,
    thinking: str | int | bool | None = None,
) -> Asking:
    """Decides how a model is asked and read.

    Args:
        model: Made by `load_model`.
        coords: Name of a coordinate format, or `auto`.
        prompt: `auto`, `native`, a name in `prompts.PROMPTS`, or a text with `{description}`.
        thinking: `on`, `off`, a budget in tokens, or None for the model's own way.

    Raises:
        UsageError: A name that is in no table, no native prompt, or no such way to think.
    """
    served = served_name(model.name)
    rows = [] if model.coords else matching(served)
    family = rows[0] if len(rows) == 1 else None
    name, template = _prompt(prompt, family, served)
    asked = parse_thinking(thinking)
    way = _way(model, family, asked, served)
    found, source, why, warning = _coords(model, rows, coords, name, template)
    return Asking(
        model=model.name,
        family=family,
        coords=found,
        source=source,
        why=why,
        warning=warning,
        prompt=name,
        plain=template,
        template=template + way.suffix,
        thinking=asked,
        system=way.system,
        extra=way.extra,
        image=family.image if family else ImageRule(),
    )


def _prompt(prompt: str, family: Family | None, served: str) -> tuple[str, str]:
    """Name and template."""
    if prompt == AUTO:
        prompt = family.prompt if family else "unified"
    if prompt == NATIVE:
        if family is None or not family.native:
            whose = family.title if family else repr(served)
            raise UsageError(
                f"expected a model with a native prompt, got {whose}, of which none is known; "
                "give a text with {description}, or leave --prompt out"
            )
        return NATIVE, family.native
    template = prompts.template(prompt)
    return (prompt if prompt in prompts.PROMPTS else "custom"), template


def _way(model: Model, family: Family | None, thinking: Thinking, served: str) -> Way:
    if thinking is None or model.switches_thinking:
        return Way()
    if model.coords:
        raise UsageError(
            f"expected no --thinking for {model.name}, got {thinking}: it has no switch; "
            "leave it out"
        )
    if family is None:
        raise UsageError(
            f"expected a model whose switch for thinking is known, got {served!r}; leave "
            "--thinking out, or send your server's own switch with --extra-body"
        )
    return family.way(thinking, served)


def _coords(
    model: Model, rows: list[Family], coords: str, prompt: str, template: str
) -> tuple[str, Source, str, str]:
    """Format, source, why, warning."""
    if coords != AUTO:
        return geometry.coord_format(coords).name, "given", "given with --coords", ""
    if model.coords:
        provider = model.name.partition("/")[0]
        return model.coords, "provider", f"so do all models of the provider {provider}", ""
    stored = readings.find_calibration(model.name, template)
    if stored:
        why = (
            f"calibrated on {stored.created[:10]}: mean IoU {stored.fits[0].iou:.2f} over "
            f"{stored.boxes} boxes, {stored.margin:.2f} more than any other"
        )
        return stored.coords, "calibration", why, _doubted(model, stored)
    family = rows[0] if len(rows) == 1 else None
    known = family.coords_under(prompt) if family else ""
    if family and known:
        fact = "native" if prompt == NATIVE and family.native_coords else "coords"
        grade = family.grade(fact)
        remark = family.facts[fact][1:].strip(":; ")
        why = f"{family.title} writes so, by {GRADES[grade]}" + (remark and f" ({remark})")
        if grade == "?":
            why = f"taken for {family.title}, but not sure" + (remark and f" ({remark})")
        unsure = f"{model.name} is read as {known}: {why}; {_find_out(model)}"
        return known, "family", why, "" if grade == "V" else unsure
    return (
        "abs",
        "default",
        _unknown(rows),
        f"{model.name} is read as abs: {_unknown(rows)}; " + (_find_out(model)),
    )


def _unknown(rows: list[Family]) -> str:
    if len(rows) > 1:
        return f"its name fits several families ({', '.join(row.title for row in rows)})"
    if not rows:
        return "its name fits no family"
    if not rows[0].boxes:
        return f"{rows[0].title} writes points and no boxes"
    return f"nobody has said how {rows[0].title} writes a box"


def _find_out(model: Model) -> str:
    return f"groundingme calibrate {model.name} finds out"


def _doubted(model: Model, stored: readings.Calibration) -> str:
    if not stored.doubt:
        return ""
    return f"{model.name} is read as {stored.coords} by a calibration in doubt: {stored.doubt}"
