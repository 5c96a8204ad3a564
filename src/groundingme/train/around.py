"""What a data set says of each picture: by which a contradiction is checked without a model.

Its samples are the first source: other boxes on the same picture, and what is said of them. A
sample may also bring `objects`, every object of its picture with its class (`kind`, `category` or
`label`) and `bbox`, as Scenes have them; and a file of boxes may be given, in any of the layouts
that a build reads. Where one of those two speaks of a picture, all that is in it is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from groundingme import geometry
from groundingme.build import variants
from groundingme.build.changing import own_spans
from groundingme.build.lexicon import COLORS
from groundingme.build.other_things import may_be_there, near, words_in
from groundingme.build.records import Change, Picture
from groundingme.datasets.rows import to_box
from groundingme.errors import DataError
from groundingme.schema import Box, Sample
from groundingme.train.pictures import Look

SAME = 0.9
"""IoU from which two boxes are of one object."""


@dataclasses.dataclass
class Thing:
    """One object of a picture.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        label: Its class, or "".
        said: What is said of it.
    """

    box: Box
    label: str
    said: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Around:
    """One picture.

    Attributes:
        things: Its objects, as far as they are known.
        complete: Whether those are all.
    """

    things: list[Thing] = dataclasses.field(default_factory=list)
    complete: bool = False

    def add(self, box: Box, label: str, said: str) -> None:
        """One more object, or something more of one that is known."""
        known = [one.box for one in self.things]
        overlap = geometry.iou_matrix([box], known)[0] if known else []
        at = max(range(len(known)), key=lambda i: overlap[i], default=-1)
        if at < 0 or overlap[at] < SAME:
            self.things.append(Thing(box, label, [said] if said else []))
            return
        thing = self.things[at]
        thing.label = thing.label or label
        if said and said not in thing.said:
            thing.said.append(said)

    def others(self, sample: Sample) -> list[Thing]:
        """The objects but the sample's own."""
        assert sample.target is not None
        if not self.things:
            return []
        overlap = geometry.iou_matrix([sample.target], [one.box for one in self.things])[0]
        return [one for one, iou in zip(self.things, overlap, strict=True) if iou < SAME]

    def of_class(self, sample: Sample) -> list[Thing]:
        """The others that are, or may be, what the description says that the object is.

        Those of its class and those whose class is not known; all others where the description
        does not name the class ("the red thing").
        """
        label = sample.detection_type.lower()
        if not near(label) & words_in([sample.description]):
            label = ""
        return [
            one for one in self.others(sample)
            if not label or not one.label or one.label.lower() == label
        ]  # fmt: skip

    def seen(self) -> frozenset[str]:
        """Words for all that is known to be there."""
        words = words_in(said for one in self.things for said in (one.label, *one.said))
        return words.union(*(near(one.label) for one in self.things))

    def problem(self, sample: Sample, text: str, change: Change, side: str) -> str:
        """Why a contradiction is of no use here: `duplicate`, `true`, or "".

        Args:
            sample: The true one.
            text: The contradiction.
            change: What was made wrong.
            side: Where a swap puts the object; "" for other changes.
        """
        if any(variants.alike(text, said) for one in self.others(sample) for said in one.said):
            return "duplicate"
        assert sample.target is not None
        same = self.of_class(sample)
        if side:
            there = may_be_there(side, sample.target, [one.box for one in same])
            return "true" if there else ""
        said = [text for one in same for text in one.said]
        true = variants.is_true_of_another(sample.description, change, len(same), said)
        if not true and variants.is_opposite(change):
            true = any(_may_fit(sample.description, change, one.said) for one in same)
        return "true" if true else ""


def _may_fit(description: str, change: Change, said: Iterable[str]) -> bool:
    """Whether another of the class may be what a description with an opposite says.

    An opposite (open, closed; with, without) is true of half of all things. Only one that is known
    to have another colour than the description says does not fit.
    """
    rest = description.replace(change.before, " ", 1) if change.before else description
    wanted = {one[0].lower() for one in own_spans(rest, COLORS)}
    known = {one[0].lower() for text in said for one in own_spans(text, COLORS)}
    return not wanted or not known or wanted <= known


class Pictures:
    """What is known of every picture of a data set, by the digest of its bytes."""

    def __init__(self, samples: Iterable[tuple[Sample, Look]], boxes: str | None = None) -> None:
        self._found: dict[str, Around] = {}
        reader = _reader(boxes) if boxes else None
        asked: set[str] = set()
        for sample, look in samples:
            around = self._found.setdefault(look.digest, Around())
            if sample.target is not None:
                around.add(sample.target, sample.detection_type, sample.description)
            for box, label, said in _objects(sample.extra):
                around.add(box, label, said)
                around.complete = True
            if reader and look.digest not in asked and sample.image is not None:
                asked.add(look.digest)
                found = reader(sample.image.name, look.width, look.height)
                for box, label in found or ():
                    around.add(box, label, "")
                around.complete |= found is not None

    def __getitem__(self, digest: str) -> Around:
        return self._found[digest]


def _objects(extra: Mapping[str, Any]) -> Iterable[tuple[Box, str, str]]:
    """Box, class and words of each of `objects`; nothing of what is not so."""
    told = extra.get("objects")
    for one in told if isinstance(told, list) else ():
        if not isinstance(one, dict):
            continue
        label = next((one[key] for key in ("kind", "category", "label") if key in one), "")
        box = to_box(one.get("bbox"))
        if box is not None and isinstance(label, str):
            color = one.get("color")
            yield box, label, f"a {color} {label}" if isinstance(color, str) else ""


def _reader(path: str) -> Any:
    """Looks up the boxes of a picture; None where the file has no entry for it."""
    from groundingme.build.detectors.boxes_file import FromFile

    file = FromFile(path=path)

    def read(name: str, width: int, height: int) -> list[tuple[Box, str]] | None:
        found = file.detect([Picture(id=name, where=name, width=width, height=height)], [])[0]
        if isinstance(found, Exception):
            if isinstance(found, DataError):
                return None
            raise found
        boxes = found.boxes.tolist()
        return [
            ((a, b, c, d), label) for (a, b, c, d), label in zip(boxes, found.labels, strict=True)
        ]

    return read
