"""Changes of a question whose effect on the answer is known: of the picture, the words, or both.

A changed picture is a `View` of the old one: which part of it is shown, where, and whether it is
mirrored. So one function makes every picture and one maps every answer back. What a change would do
to a description decides whether it applies: a crop may take away "the largest" or "the lamp beside
it", and then nothing is known of the answer.
"""

from __future__ import annotations

import functools
import math
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme import images
from groundingme.errors import ImageError
from groundingme.schema import Box, Sample
from groundingme.studies.changing import Picture
from groundingme.studies.inpainting import removed
from groundingme.studies.mirroring import mirrored
from groundingme.studies.rewording import reworded

if TYPE_CHECKING:
    from PIL import Image

SCALE, KEPT, PADDING, QUALITY = 0.7, 0.7, 0.25, 30
GREY = (128, 128, 128)
LEAST_STRIP, LARGEST_THING = 0.25, 0.5
"""Smallest share of the picture that may be left, and largest that may be filled."""

_CHOICE = re.compile(
    r"\b(?!(?:chest|nest|vest|forest|guest|west|rest|test|almost|utmost|priest|breast)\b)"
    r"[\w-]+(?:est|most)\b"
    r"|\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\d+(?:st|nd|rd|th)"
    r"|last|only|single|alone|itself|groups?|pair|rows?|columns?|line|most|fewest|more|fewer|less"
    r"|other|another|same|both|all)\b|farthest|furthest",
    re.IGNORECASE,
)
"""The thing is chosen among others, or counted with them."""

_PLACE = re.compile(
    r"\b(?:left|right)(?:-?hand)?\b(?!\s+(?:side\s+)?of\b)|\b(?:top|bottom|upper|lower|edge|corner"
    r"|border|background|foreground|cent(?:er|re)|middle|picture|image|photo|frame|cut off|cropped"
    r"|far|distance|side)\b(?!\s+(?:than|of\s+(?:an?|the))\b)",
    re.IGNORECASE,
)
"""Its place in the picture."""

_BESIDE = re.compile(
    r"\b(?:left|right|above|below|over|under|underneath|front|behind|between|near|close|next to"
    r"|beside|hidden|covered|higher|lower|beyond|against|among|opposite|facing|than)\b",
    re.IGNORECASE,
)
"""Its place beside others."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What of a picture is shown.

    Attributes:
        window: Part of the old picture, in its pixels.
        place: Where that part lies in the new one, in its pixels.
        size: Width and height of the new one.
        mirrored: Whether the part is mirrored, left to right.
        gone: Whether what the description means was taken away: it must be rejected.
    """

    window: Box
    place: Box
    size: tuple[int, int]
    mirrored: bool = False
    gone: bool = False

    def forward(self, box: Box) -> Box:
        """A box of the old picture in the new one."""
        return _mapped(box, self.window, self.place, self.mirrored)

    def back(self, box: Box) -> Box:
        """A box of the new picture in the old one."""
        return _mapped(box, self.place, self.window, self.mirrored)

    def draw(self, picture: Image.Image) -> Image.Image:
        """The new picture."""
        from PIL import Image

        x1, y1, x2, y2 = map(round, self.place)
        left, top, right, bottom = map(round, self.window)
        part = picture.crop((left, top, right, bottom))
        if self.mirrored:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if part.size != (x2 - x1, y2 - y1):
            part = part.resize((x2 - x1, y2 - y1), Image.Resampling.LANCZOS)
        if part.size == self.size:
            return part
        sheet = Image.new("RGB", self.size, GREY)
        sheet.paste(part, (x1, y1))
        return sheet


def _mapped(box: Box, a: Box, b: Box, mirror: bool) -> Box:
    sx, sy = (b[2] - b[0]) / (a[2] - a[0]), (b[3] - b[1]) / (a[3] - a[1])
    xs = [b[0] + sx * (x - a[0]) for x in (box[0], box[2])]
    if mirror:
        xs = [b[0] + b[2] - x for x in reversed(xs)]
    return (xs[0], b[1] + sy * (box[1] - a[1]), xs[1], b[1] + sy * (box[3] - a[1]))


def clipped(box: Box, window: Box) -> Box | None:
    """The part of a box inside a window; None where half of it or more lies outside."""
    x1, y1 = max(box[0], window[0]), max(box[1], window[1])
    x2, y2 = min(box[2], window[2]), min(box[3], window[3])
    whole = (box[2] - box[0]) * (box[3] - box[1])
    inside = max(0.0, x2 - x1) * max(0.0, y2 - y1)
    return (x1, y1, x2, y2) if inside > 0.5 * whole else None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        name: For people and as the name of a condition.
        mark: Behind the ids; says the amount too, since a run is known by it.
        make: From a sample with its size, the box that is kept or taken away, and dice; None
            where the change does not apply.
        boxed: Whether it needs that box, or none for "nothing matches".
        text: What it does, in a few words.
    """

    name: str
    mark: str
    make: Callable[[Sample, Box | None, random.Random], Sample | None]
    boxed: bool = False
    text: str


def sized(sample: Sample) -> Sample | None:
    """The sample with the size of its picture; None where it has none that can be read."""
    if sample.image is None:
        return None
    if sample.width and sample.height:
        return sample
    try:
        found = images.probe(sample.image.read(), whole=False)
    except ImageError:
        return None
    return msgspec.structs.replace(sample, width=found.width, height=found.height)


def view_of(sample: Sample) -> View | None:
    """How the picture of a changed sample was made; None where it is the old one."""
    return sample.extra.get("view")


def _seen(
    sample: Sample, view: View, draw: Callable[[Image.Image], Image.Image] | None = None, **new: Any
) -> Sample:
    assert sample.image is not None
    target = None if view.gone or not sample.target else view.forward(sample.target)
    return msgspec.structs.replace(
        sample,
        image=Picture(sample.image, draw or view.draw, quality=new.pop("quality", None)),
        target=target,
        width=view.size[0],
        height=view.size[1],
        extra={**sample.extra, "view": view},
        **new,
    )


def _whole(sample: Sample, **new: Any) -> View:
    frame = (0.0, 0.0, float(sample.width), float(sample.height))
    return View(**({"window": frame, "place": frame, "size": (sample.width, sample.height)} | new))


def _again(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    return sample


def _reworded(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    said = reworded(sample.description)
    return None if said is None else msgspec.structs.replace(sample, description=said)


def _flipped(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    said = None if sample.subtask_l2 == "Text" else mirrored(sample.description)
    return None if said is None else _seen(sample, _whole(sample, mirrored=True), description=said)


def _scaled(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    w, h = max(1, round(SCALE * sample.width)), max(1, round(SCALE * sample.height))
    return _seen(sample, _whole(sample, place=(0.0, 0.0, float(w), float(h)), size=(w, h)))


def _padded(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    if _PLACE.search(sample.description):
        return None
    w, h = sample.width, sample.height
    x, y = round(PADDING * w), round(PADDING * h)
    place = (float(x), float(y), float(x + w), float(y + h))
    return _seen(sample, _whole(sample, place=place, size=(x + w, y + h)))


def _recompressed(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    return _seen(sample, _whole(sample), quality=QUALITY)


def _cut(sample: Sample, window: tuple[int, int, int, int], *, gone: bool = False) -> Sample:
    x1, y1, x2, y2 = map(float, window)
    size = (window[2] - window[0], window[3] - window[1])
    view = View(window=(x1, y1, x2, y2), place=(0.0, 0.0, x2 - x1, y2 - y1), size=size, gone=gone)
    return _seen(sample, view)


def _cropped(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    """A window anywhere around the box, with some room; without a box anywhere."""
    if any(words.search(sample.description) for words in (_CHOICE, _PLACE, _BESIDE)):
        return None
    ends = []
    for low, high, side in _sides(sample, box):
        wide = round(KEPT * side)
        room = 0.1 * (high - low)
        first = max(0, math.ceil(min(side, high + room)) - wide)
        last = min(side - wide, math.floor(max(0, low - room)))
        if first > last:
            return None
        start = rng.randint(first, last)
        ends.append((start, start + wide))
    (x1, x2), (y1, y2) = ends
    return _cut(sample, (x1, y1, x2, y2))


def _sides(sample: Sample, box: Box | None) -> list[tuple[float, float, int]]:
    if box is None:
        # Any window holds a box without extent at its own start.
        return [(side, 0.0, side) for side in (sample.width, sample.height)]
    w, h = sample.width, sample.height
    return [(max(0.0, box[0]), min(w, box[2]), w), (max(0.0, box[1]), min(h, box[3]), h)]


def _lost(sample: Sample, box: Box | None) -> bool:
    """Whether nothing is known once it is taken away: there is none, or another takes over."""
    words = (_CHOICE, _PLACE)
    return box is None or any(one.search(sample.description) for one in words)


def _cropped_away(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    if _lost(sample, box):
        return None
    assert box is not None
    w, h = sample.width, sample.height
    strips = [
        (0, 0, int(box[0]), h), (0, 0, w, int(box[1])),
        (int(box[2]) + 1, 0, w, h), (0, int(box[3]) + 1, w, h),
    ]  # fmt: skip
    window = max(strips, key=lambda one: max(0, one[2] - one[0]) * max(0, one[3] - one[1]))
    area = max(0, window[2] - window[0]) * max(0, window[3] - window[1])
    return _cut(sample, window, gone=True) if area >= LEAST_STRIP * w * h else None


def _removed(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    if _lost(sample, box):
        return None
    assert box is not None
    if (box[2] - box[0]) * (box[3] - box[1]) > LARGEST_THING * sample.width * sample.height:
        return None
    view = _whole(sample, gone=True)
    return _seen(sample, view, functools.partial(removed, box=box))


CHANGES = (
    Change(name="asked again", mark="again", make=_again, text="nothing is changed"),
    Change(name="paraphrased", mark="reworded", make=_reworded, text="other words, same meaning"),
    Change(name="recompressed", mark=f"jpeg-{QUALITY}", make=_recompressed,
           text=f"a JPEG of quality {QUALITY}"),
    Change(name="scaled", mark=f"scaled-{SCALE:g}", make=_scaled,
           text=f"{100 * SCALE:g} % of its width and height"),
    Change(name="padded", mark=f"padded-{PADDING:g}", make=_padded,
           text=f"{100 * PADDING:g} % of grey at the left and at the top"),
    Change(name="flipped", mark="flipped", make=_flipped,
           text="mirrored, with left and right swapped in the words"),
    Change(name="cropped", mark=f"cropped-{KEPT:g}", make=_cropped, boxed=True,
           text=f"a window of {100 * KEPT:g} % of each side that holds the target"),
    Change(name="cropped away", mark="cropped-away", make=_cropped_away, boxed=True,
           text="the part of the picture beside the target"),
    Change(name="removed", mark="removed", make=_removed, boxed=True,
           text="the target's place filled from its surroundings"),
)  # fmt: skip
"""All of them, from those that should matter least."""
