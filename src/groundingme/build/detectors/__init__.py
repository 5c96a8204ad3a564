"""Detectors: one file each, named in the configuration with `by`.

    [detect]
    by = "grounding-dino"
    model = "IDEA-Research/grounding-dino-base"
    threshold = 0.3

A detector registers a function that makes it from the options of its own; the keys of the section
that `DetectOptions` lacks go to that function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry
from groundingme.build.config import check_options
from groundingme.build.opening import opened
from groundingme.build.records import Detections, Picture
from groundingme.build.stage import PictureWork
from groundingme.errors import UsageError
from groundingme.registry import Registry

if TYPE_CHECKING:
    from PIL import Image


class Found(NamedTuple):
    """What a detector found in one picture.

    Attributes:
        boxes: Shape `(N, 4)`, float64, x1 y1 x2 y2 in pixels of the upright picture.
        labels: Class of each box.
        scores: Shape `(N,)`, in [0, 1].
    """

    boxes: NDArray[np.float64]
    labels: list[str]
    scores: NDArray[np.float64]


NOTHING = Found(np.empty((0, 4)), [], np.empty(0))


class Detector(Protocol):
    """Finds boxes in pictures.

    Attributes:
        needs_image: Whether it looks at the pictures; if not, none are opened for it.
        same_size: Whether the pictures of a batch must have one width and height.

    Its class may have `files`, the options that name files, which must be there when a build
    begins.
    """

    needs_image: bool
    same_size: bool

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        """What is in each picture, or why that cannot be said.

        Args:
            pictures: Whose `tags` say what to look for, where the detector can be told.
            images: As many, RGB and upright; none where `needs_image` is false.
        """


DETECTORS: Registry[Callable[..., Detector]] = Registry("detector", "groundingme.build.detectors")
"""Functions that make a detector from its options."""


class DetectOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which detector looks for the boxes, and how pictures are given to it.

    Attributes:
        by: Name of a detector.
        batch: Most pictures, or tiles of one, that it is given at once.
        tile: Side of the tiles in which larger pictures are looked at, in pixels; 0 for never.
        overlap: Of neighbouring tiles, as a share of their side.
        whole: Whether a picture in tiles is looked at as a whole, too, for what is larger than a
            tile.
        options: The detector's own.
    """

    by: str
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    tile: Annotated[int, msgspec.Meta(ge=0)] = 0
    overlap: Annotated[float, msgspec.Meta(ge=0, le=0.75)] = 0.2
    whole: bool = True
    options: dict[str, Any] = {}


def check(by: str, options: dict[str, Any]) -> None:
    """Whether there is such a detector with such options; nothing is loaded.

    Raises:
        UsageError: There is none; the message names the known ones.
    """
    factory = DETECTORS.get(by)
    check_options("detector", by, factory, options)
    for option in getattr(factory, "files", ()):
        named = options.get(option)
        if named and isinstance(named, str) and not Path(named).expanduser().exists():
            raise UsageError(
                f"expected {option!r} of the detector {by} to be there, got no file or folder "
                f"{named}"
            )


def make_detect(options: DetectOptions, seed: int) -> PictureWork:
    """The work of the stage `detect`; the detector is loaded here.

    Raises:
        UsageError: The detector cannot be made with these options.
    """
    from groundingme.build.detectors.tiles import Tiled

    check(options.by, options.options)
    try:
        detector = DETECTORS.get(options.by)(**options.options)
    except (TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        given = ", ".join(f"{key} = {value!r}" for key, value in options.options.items())
        raise UsageError(
            f"expected options that the detector {options.by} can use, got {given}: {error}"
        ) from None
    if options.tile and detector.needs_image:
        detector = Tiled(
            detector, options.tile, options.overlap, whole=options.whole, batch=options.batch
        )

    def work(pictures: list[Picture]) -> list[Picture]:
        if detector.needs_image:
            batches = opened(pictures, options.batch, same_size=detector.same_size)
        else:
            batches = iter([([one for one in pictures if one.goes_on], [])])
        for several, images in batches:
            for picture, found in zip(several, _detected(detector, several, images), strict=True):
                _keep(picture, found)
        return pictures

    return work


def _detected(
    detector: Detector, pictures: list[Picture], images: list[Image.Image]
) -> list[Found | Exception]:
    """What is in each picture; where a batch fails, one picture after another is tried."""
    try:
        return detector.detect(pictures, images)
    # The boundary: what a model raises on one picture must not cost the others.
    except Exception as error:  # noqa: BLE001
        if len(pictures) == 1:
            return [error]
    return [
        _detected(detector, pictures[at : at + 1], images[at : at + 1])[0]
        for at in range(len(pictures))
    ]


def _keep(picture: Picture, found: Found | Exception) -> None:
    if isinstance(found, Exception):
        said = " ".join(str(found).split())[:300] or type(found).__name__
        picture.failure = f"the detector failed: {said}"
        return
    boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)
    sizes = np.tile((picture.width, picture.height), (len(boxes), 1))
    picture.found = Detections.of(geometry.clip(boxes, sizes), list(found.labels), found.scores)
