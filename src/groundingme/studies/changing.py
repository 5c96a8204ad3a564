"""Data sets made from data sets: other pictures, other words, other targets, in the same order.

A run is known by ids, descriptions, targets and sizes, so a changed sample gets an id that says how
it was changed, `17~flipped`, and studies pair samples by `origin`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from groundingme import images
from groundingme.datasets import Dataset
from groundingme.schema import ImageSource, Sample

if TYPE_CHECKING:
    from PIL import Image

MARK = "~"
"""Between a sample's id and how it was changed."""


class Picture:
    """A picture made from another one when it is asked for.

    Args:
        source: The other one.
        make: From the upright picture in RGB to what is shown.
        quality: Of JPEG; None stores it without loss, as PNG.
    """

    def __init__(
        self,
        source: ImageSource,
        make: Callable[[Image.Image], Image.Image],
        *,
        quality: int | None = None,
    ) -> None:
        self.source, self.name = source, source.name
        self._make, self._quality = make, quality

    def read(self) -> bytes:
        """The encoded picture.

        Raises:
            ImageError: The picture that it is made from cannot be used.
        """
        made = self._make(images.open_upright(self.source.read()).convert("RGB"))
        buffer = io.BytesIO()
        if self._quality is None:
            made.save(buffer, "PNG", compress_level=1)
        else:
            made.save(buffer, "JPEG", quality=self._quality)
        return buffer.getvalue()


def changed(dataset: Dataset, name: str, change: Callable[[Sample], Sample | None]) -> Dataset:
    """The samples as `change` makes them, each with `~name` behind its id.

    Args:
        dataset: Samples with a problem pass as they are, so that they count as failed.
        name: Of the change: letters, digits and hyphens.
        change: Gives None for a sample that it does not apply to, which is then left out.
    """
    made = []
    for one in dataset:
        found = one if one.problem else change(one)
        if found is not None:
            made.append(msgspec.structs.replace(found, id=f"{one.id}{MARK}{name}"))
    return Dataset(name=f"{dataset.name}{MARK}{name}", source=dataset.source, samples=made)


def origin(id: str) -> str:
    """Id of the sample that a changed one was made from; of an unchanged one its own."""
    return id.partition(MARK)[0]


def only(dataset: Dataset, ids: set[str]) -> Dataset:
    """The samples of these ids, in their order."""
    return Dataset(
        name=dataset.name,
        source=dataset.source,
        samples=[one for one in dataset if one.id in ids],
    )
