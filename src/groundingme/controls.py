"""Controls: the same questions with the wrong image, to see what is right without looking.

==================  ===============================================================================
`grey`              every image is even grey, of the same size
`shuffled`          every image is another image of the data set, stretched to the same size, so
                    that coordinates mean the same. Samples that share an image share the other one
`shuffled:SEED`     the same with another draw
==================  ===============================================================================

Descriptions, targets, sizes and ids are those of the data set, so its fingerprint is unchanged; the
control is a setting of the run.
"""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Sequence

import msgspec

from groundingme import images
from groundingme.datasets import Dataset
from groundingme.errors import DataError, ImageError, UsageError
from groundingme.schema import ImageSource, Run

CONTROLS = ("grey", "shuffled")
GREY = 128
"""Brightness, from 0 to 255."""


class GreyImage:
    """Grey of the size of another image."""

    def __init__(self, source: ImageSource) -> None:
        self.source = source
        self.name = source.name

    def read(self) -> bytes:
        """A PNG.

        Raises:
            ImageError: The image that it stands for cannot be used.
        """
        found = images.probe(self.source.read())
        return _grey(found.width, found.height)


@functools.lru_cache(maxsize=16)
def _grey(width: int, height: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (width, height), GREY).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class OtherImage:
    """The next of a ring of images whose picture differs, in the size of the one at `at`."""

    def __init__(self, ring: Sequence[ImageSource], at: int) -> None:
        self.ring = ring
        self.at = at
        self.name = ring[at].name

    def read(self) -> bytes:
        """A JPEG.

        Raises:
            ImageError: The image that it stands for cannot be used, or no other one can.
        """
        from PIL import Image

        own = self.ring[self.at].read()
        size = images.probe(own)
        target = (size.width, size.height)
        for step in range(1, len(self.ring)):
            try:
                data = self.ring[(self.at + step) % len(self.ring)].read()
                # Some data sets store one picture under several names.
                if data == own:
                    continue
                picture = images.open_upright(data, least=target)
            except ImageError:
                continue
            buffer = io.BytesIO()
            picture.resize(target, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
            return buffer.getvalue()
        raise ImageError("missing", f"expected another image than {self.name}, got none that opens")


def parse(control: str) -> tuple[str, int]:
    """Name and seed.

    Raises:
        UsageError: There is no such control.

    Example:
        >>> parse("shuffled:7")
        ('shuffled', 7)
    """
    name, colon, seed = control.partition(":")
    if name not in CONTROLS or (colon and not (name == "shuffled" and seed.isdecimal())):
        raise UsageError(f"expected the control grey, shuffled or shuffled:SEED, got {control!r}")
    return name, int(seed or 0)


def canonical(control: str) -> str:
    """One spelling a control: `grey`, `shuffled` for seed 0, else `shuffled:SEED`."""
    name, seed = parse(control)
    return f"{name}:{seed}" if seed else name


def apply(dataset: Dataset, control: str) -> Dataset:
    """The same samples with other images.

    Args:
        dataset: Every sample keeps all but its image; one without an image stays without.
        control: See the table above.

    Raises:
        UsageError: There is no such control.
        DataError: Fewer than two images to shuffle.
    """
    name, seed = parse(control)
    shown: dict[str, ImageSource] = {}
    for one in dataset:
        if one.image is not None:
            shown.setdefault(one.image.name, one.image)
    if name == "grey":
        replaced: dict[str, ImageSource] = {key: GreyImage(one) for key, one in shown.items()}
    else:
        replaced = _shuffled(dataset, shown, seed)
    samples = [
        one if one.image is None else msgspec.structs.replace(one, image=replaced[one.image.name])
        for one in dataset
    ]
    return Dataset(name=dataset.name, source=dataset.source, samples=samples)


def _shuffled(dataset: Dataset, shown: dict[str, ImageSource], seed: int) -> dict[str, ImageSource]:
    if len(shown) < 2:
        raise DataError(
            f"expected two images or more to shuffle in {dataset.source}, got {len(shown)}; "
            "use --control grey"
        )
    # In a ring, each image's neighbour is another one: no image stays where it was.
    ring = list(shown.values())
    random.Random(f"groundingme:shuffled:{seed}").shuffle(ring)
    return {one.name: OtherImage(ring, at) for at, one in enumerate(ring)}


def notes(run: Run) -> list[str]:
    """What a reader of a control has to know; nothing for an ordinary run."""
    control = run.settings.get("control")
    if not isinstance(control, str):
        return []
    what = "even grey" if control == "grey" else "another image of the data set"
    return [
        f"control: every image was replaced by {what} ({control}), so what is right here is right "
        "without looking"
    ]
