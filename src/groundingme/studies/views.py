"""Changed pictures as views of the old ones: what is shown, where, and whether it is mirrored.

So one function makes every picture, one puts a box where it now lies, and one maps every answer
back and tells whether it is still the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme import images
from groundingme.errors import ImageError
from groundingme.geometry import iou
from groundingme.result import Result
from groundingme.schema import Box, Sample
from groundingme.studies.changing import Picture, origin

if TYPE_CHECKING:
    from PIL import Image

GREY = (128, 128, 128)


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


def seen(
    sample: Sample, view: View, draw: Callable[[Image.Image], Image.Image] | None = None, **new: Any
) -> Sample:
    """The sample with another picture, and its target where that now lies.

    Args:
        sample: With the size of its picture.
        view: What of it is shown.
        draw: Makes the picture; the view by default.
        new: Other fields that change, and `quality` of a JPEG.
    """
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


def whole(sample: Sample, **new: Any) -> View:
    """The view that shows all of a picture.

    Args:
        sample: With its size.
        new: What is different.
    """
    frame = (0.0, 0.0, float(sample.width), float(sample.height))
    return View(**({"window": frame, "place": frame, "size": (sample.width, sample.height)} | new))


def consistent(plain: Result, other: Result, samples: Sequence[Sample]) -> dict[str, bool]:
    """Whether the answers to changed questions agree with those to the questions as they are.

    Args:
        plain: Of the questions as they are.
        other: Of the changed ones.
        samples: The changed ones, with their views.

    Returns:
        By id as it was before the change. Boxes agree at an IoU of 0.5 or more; what nobody can
        read, or what failed, agrees with nothing. A sample is not in it where the answer lay
        outside what is still shown.
    """
    before = {one.id: one for one in plain.scores}
    found = {}
    for sample, after in zip(samples, other.scores, strict=True):
        id, view = origin(sample.id), view_of(sample)
        was = before[id]
        if was.outcome not in ("box", "rejected"):
            found[id] = False
        elif was.box is None or (view and view.gone):
            found[id] = after.outcome == "rejected"
        else:
            seen = clipped(was.box, view.window) if view else was.box
            if seen is None:
                continue
            box = after.box and (view.back(after.box) if view else after.box)
            found[id] = box is not None and bool(iou([box], [seen])[0] >= 0.5)
    return found
