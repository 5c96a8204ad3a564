"""How a model is asked and its boxes are read: by what was given, measured, or known of its family.

For coordinates, the first of these that says something counts:

===============  =============================================================================
given            `coords` is the name of a format
provider         built-in models, baselines and scripts write pixels whatever their name
calibration      `groundingme calibrate` found out what this model writes, asked so, at this server
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
from groundingme.models import PROVIDERS, Model, Thinking
from groundingme.models.families import GRADES, Family, Way, matching, parse_thinking
from groundingme.schema import Run

AUTO = "auto"
NATIVE = "native"

Source = Literal["given", "provider", "calibration", "family", "default"]


class Reading(msgspec.Struct, frozen=True):
    """How a model's boxes are read: the same fields as in `Asking`."""

    coords: str
    source: Source
    why: str
    warning: str = ""


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
        template: The prompt's, with whatever the family hangs on to its end.
        thinking: As asked for.
        system: System prompt; "" for none.
        extra: Further fields of an OpenAI-compatible request.
        image: What is asked of images.
        digest: Of what is asked, for calibrations: see `readings.digest_of`.
        server: Who is asked: see `models.Model`.
    """

    model: str
    family: Family | None
    coords: str
    source: Source
    why: str
    warning: str
    prompt: str
    template: str
    thinking: Thinking
    system: str
    extra: dict[str, Any]
    image: ImageRule
    digest: str
    server: str | None

    def settings(self) -> dict[str, Any]:
        """What changes the question beyond the prompt: part of a run's identity."""
        return _settings(self.thinking, self.system, self.extra, self.image)


def _settings(
    thinking: Thinking, system: str, extra: dict[str, Any], image: ImageRule
) -> dict[str, Any]:
    rule = {"resize": image.resize, "max_bytes": image.max_bytes}
    parts: dict[str, Any] = {
        "thinking": thinking,
        "system": system,
        "extra": extra,
        "image": {name: value for name, value in rule.items() if value},
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
    name, template = prompt_for(prompt, family, served)
    asked = parse_thinking(thinking)
    way = _way(model, family, asked, served)
    image = family.image if family else ImageRule()
    template += way.suffix
    settings = _settings(asked, way.system, way.extra, image)
    digest = readings.digest_of(template, {**settings, **model.settings()})
    if coords == AUTO:
        reading = _reading(model.name, model.coords, rows, name, digest, model.server)
    else:
        reading = Reading(geometry.coord_format(coords).name, "given", "given with --coords")
    return Asking(
        model=model.name,
        family=family,
        coords=reading.coords,
        source=reading.source,
        why=reading.why,
        warning=reading.warning,
        prompt=name,
        template=template,
        thinking=asked,
        system=way.system,
        extra=way.extra,
        image=image,
        digest=digest,
        server=model.server,
    )


def reading_of_run(run: Run) -> Reading:
    """How `auto` reads the boxes of a finished run: by what is known today.

    A run does not say at which server it was asked, so a calibration counts where those of all
    servers agree.
    """
    provider = run.model.partition("/")[0]
    fixed = getattr(PROVIDERS.get(provider), "coords", "")
    rows = [] if fixed else matching(served_name(run.model))
    native = len(rows) == 1 and rows[0].native
    prompt = NATIVE if native and run.prompt.startswith(native) else "custom"
    digest = readings.digest_of(run.prompt, run.settings)
    return _reading(run.model, fixed, rows, prompt, digest, None)


def prompt_for(prompt: str, family: Family | None, served: str) -> tuple[str, str]:
    """Name and template of what a family is asked.

    Args:
        prompt: `auto`, `native`, a name in `prompts.PROMPTS`, or a text with `{description}`.
        family: None where none is known.
        served: The name that the server knows the model by, for messages.

    Raises:
        UsageError: A name that is in no table, or no native prompt.
    """
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


def _reading(
    name: str, fixed: str, rows: list[Family], prompt: str, digest: str, server: str | None
) -> Reading:
    """How boxes are read where no format is given."""
    if fixed:
        provider = name.partition("/")[0]
        return Reading(fixed, "provider", f"so do all models of the provider {provider}")
    stored = readings.find_calibration(name, digest, server)
    if stored:
        why = (
            f"calibrated on {stored.created[:10]}: mean IoU {stored.fits[0].iou:.2f} over "
            f"{stored.boxes} boxes, {stored.margin:.2f} more than any other"
        )
        return Reading(stored.coords, "calibration", why, _doubted(stored))
    find_out = f"groundingme calibrate {name} finds out"
    if any(one.model == name for one in readings.calibrations()):
        find_out += "; what was calibrated of it was asked otherwise, or at another server"
    family = rows[0] if len(rows) == 1 else None
    known = family.coords_under(prompt) if family else ""
    if family and known:
        fact = "native" if prompt == NATIVE and family.native_coords else "coords"
        grade = family.grade(fact)
        remark = family.facts[fact][1:].strip(":; ")
        why = f"{family.title} writes so, by {GRADES[grade]}" + (remark and f" ({remark})")
        if grade == "?":
            why = f"taken for {family.title}, but not sure" + (remark and f" ({remark})")
        unsure = f"{name} is read as {known}: {why}; {find_out}"
        return Reading(known, "family", why, "" if grade == "V" else unsure)
    why = _unknown(rows)
    if family and not family.boxes:
        find_out = "no format reads those as boxes"
    return Reading("abs", "default", why, f"{name} is read as abs: {why}; {find_out}")


def _unknown(rows: list[Family]) -> str:
    if len(rows) > 1:
        return f"its name fits several families ({', '.join(row.title for row in rows)})"
    if not rows:
        return "its name fits no family"
    if not rows[0].boxes:
        return f"{rows[0].title} writes points and no boxes"
    return f"nobody has said how {rows[0].title} writes a box"


def _doubted(stored: readings.Calibration) -> str:
    if not stored.doubt:
        return ""
    return f"{stored.model} is read as {stored.coords} by a calibration in doubt: {stored.doubt}"
