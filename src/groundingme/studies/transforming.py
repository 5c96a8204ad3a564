"""Changes of a question whose effect on the answer is known: of the picture, the words, or both.

What a change would do to a description decides whether it applies: a crop may take away "the
largest" or "the lamp beside it", and then nothing is known of the answer.
"""

from __future__ import annotations

import functools
import math
import random
import re
from collections.abc import Callable, Mapping

import msgspec

from groundingme.datasets import Dataset
from groundingme.schema import Box, Sample
from groundingme.studies.changing import changed
from groundingme.studies.inpainting import removed
from groundingme.studies.mirroring import mirrored
from groundingme.studies.rewording import reworded
from groundingme.studies.views import View, seen, sized, whole

SCALE, KEPT, PADDING, QUALITY = 0.7, 0.7, 0.25, 30
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

    def applied(
        self, dataset: Dataset, boxes: Mapping[str, Box | None], seed: int, mark: str = ""
    ) -> Dataset:
        """The samples that it applies to, changed.

        Args:
            dataset: All samples.
            boxes: By id, what is kept or taken away.
            seed: Of the dice.
            mark: Behind the change's own, where the boxes are others.
        """

        def made(sample: Sample) -> Sample | None:
            dice = random.Random(f"{seed}:{self.mark}:{sample.id}")
            with_size = sized(sample)
            return with_size and self.make(with_size, boxes[sample.id], dice)

        return changed(dataset, f"{self.mark}{mark}" + (f"-{seed}" if self.boxed else ""), made)


def _again(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    return sample


def _reworded(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    said = reworded(sample.description)
    return None if said is None else msgspec.structs.replace(sample, description=said)


def _flipped(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    said = None if sample.subtask_l2 == "Text" else mirrored(sample.description)
    return None if said is None else seen(sample, whole(sample, mirrored=True), description=said)


def _scaled(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    w, h = max(1, round(SCALE * sample.width)), max(1, round(SCALE * sample.height))
    return seen(sample, whole(sample, place=(0.0, 0.0, float(w), float(h)), size=(w, h)))


def _padded(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    if _PLACE.search(sample.description):
        return None
    w, h = sample.width, sample.height
    x, y = round(PADDING * w), round(PADDING * h)
    place = (float(x), float(y), float(x + w), float(y + h))
    return seen(sample, whole(sample, place=place, size=(x + w, y + h)))


def _recompressed(sample: Sample, box: Box | None, rng: random.Random) -> Sample | None:
    return seen(sample, whole(sample), quality=QUALITY)


def _cut(sample: Sample, window: tuple[int, int, int, int], *, gone: bool = False) -> Sample:
    x1, y1, x2, y2 = map(float, window)
    size = (window[2] - window[0], window[3] - window[1])
    view = View(window=(x1, y1, x2, y2), place=(0.0, 0.0, x2 - x1, y2 - y1), size=size, gone=gone)
    return seen(sample, view)


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
    view = whole(sample, gone=True)
    return seen(sample, view, functools.partial(removed, box=box))


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
