"""Large pictures a tile at a time, with what a seam cut put together again.

A box *is cut* where it reaches an edge of its tile that is not one of the picture's. With tiles
that overlap by a fifth, whatever is smaller than the overlap is whole in at least one tile. Then,
among boxes of one label:

1. cut boxes of neighbouring tiles are pieces of one thing where they meet in the overlap and span
   nearly the same range along the seam (`ALONG`, as an IoU of ranges); they become the box around
   all of them, with the highest score. It is cut only where no piece is whole;
2. a cut box of which `INSIDE` or more lies in a whole box of another tile, or in one that was put
   together, goes: the whole one wins;
3. of two boxes from different tiles with an IoU of `SAME` or more, the higher score stays.

A thing that lies askew over a seam may stay in pieces: they span different ranges.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme import geometry
from groundingme.build.detectors import NOTHING, Detector, Found
from groundingme.build.records import Picture

if TYPE_CHECKING:
    from PIL import Image

SAME = 0.5
INSIDE = 0.8
ALONG = 0.6
REACH = 0.005
"""Distance from an edge of the tile at which a box still reaches it, as a share of the side."""


class _Boxes(NamedTuple):
    """Boxes of one label from all tiles.

    Attributes:
        xyxy: Shape `(N, 4)`, in pixels of the picture.
        scores: Shape `(N,)`.
        tile: Shape `(N,)`: number of the tile; below 0, each another, for what was put together.
        cut: Shape `(N, 4)`: whether it is cut at its left, upper, right and lower edge.
    """

    xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    tile: NDArray[np.intp]
    cut: NDArray[np.bool_]

    def at(self, which: NDArray[Any]) -> _Boxes:
        return _Boxes(self.xyxy[which], self.scores[which], self.tile[which], self.cut[which])


class Tiled:
    """A detector that is shown large pictures in tiles, and smaller ones as they are.

    Args:
        inner: Looks at the tiles.
        side: Of a tile, in pixels.
        overlap: Of neighbouring tiles, at least, as a share of their side, in [0, 0.75].
        whole: Whether the picture as a whole is looked at, too.
        batch: Most tiles given to the detector at once.
    """

    needs_image = True

    def __init__(
        self,
        inner: Detector,
        side: int,
        overlap: float = 0.2,
        *,
        whole: bool = True,
        batch: int = 1,
    ) -> None:
        self._inner = inner
        self._side = side
        self._overlap = overlap
        self._whole = whole
        self._batch = batch
        self.same_size = inner.same_size

    def detect(
        self, pictures: Sequence[Picture], images: Sequence[Image.Image]
    ) -> list[Found | Exception]:
        """What is in each picture; see `Detector.detect`."""
        small = [max(one.size) <= self._side for one in images]
        direct = iter(
            self._inner.detect(
                [one for one, fits in zip(pictures, small, strict=True) if fits],
                [one for one, fits in zip(images, small, strict=True) if fits],
            )
            if any(small)
            else []
        )
        return [
            next(direct) if fits else self._large(picture, image)
            for picture, image, fits in zip(pictures, images, small, strict=True)
        ]

    def _large(self, picture: Picture, image: Image.Image) -> Found | Exception:
        tiles = grid(image.width, image.height, self._side, self._overlap)
        parts: list[Found] = []
        for start in range(0, len(tiles), self._batch):
            for found in self._of_tiles(picture, image, tiles[start : start + self._batch]):
                if isinstance(found, Exception):
                    return found
                parts.append(found)
        if self._whole:
            found = self._inner.detect([picture], [image])[0]
            if isinstance(found, Exception):
                return found
            tiles.append((0, 0, image.width, image.height))
            parts.append(found)
        return merge(tiles, parts, image.width, image.height, self._side)

    def _of_tiles(
        self, picture: Picture, image: Image.Image, tiles: Sequence[Tile]
    ) -> list[Found | Exception]:
        shown = [
            dataclasses.replace(picture, width=x2 - x1, height=y2 - y1) for x1, y1, x2, y2 in tiles
        ]
        return self._inner.detect(shown, [image.crop(tile) for tile in tiles])


Tile = tuple[int, int, int, int]
"""x1 y1 x2 y2 in pixels of the picture."""


def grid(width: int, height: int, side: int, overlap: float) -> list[Tile]:
    """Tiles of one size that cover a picture, row by row, spread evenly.

    Args:
        width: Of the picture, in pixels.
        height: Likewise.
        side: Of a tile; a picture that is narrower has tiles as narrow as itself.
        overlap: Of neighbours, at least, as a share of the side.

    Example:
        >>> grid(250, 100, 100, 0.2)
        [(0, 0, 100, 100), (75, 0, 175, 100), (150, 0, 250, 100)]
    """
    return [
        (x, y, min(x + side, width), min(y + side, height))
        for y in _starts(height, side, overlap)
        for x in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    steps = math.ceil((length - side) / (side * (1 - overlap)))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def merge(
    tiles: Sequence[Tile], parts: Sequence[Found], width: int, height: int, side: int
) -> Found:
    """What was found in the tiles as what is in the picture: see the top of this file.

    Args:
        tiles: Where they lie; one as large as the picture cuts nothing.
        parts: What was found in each, in pixels of the tile.
        width: Of the picture.
        height: Likewise.
        side: Of a tile.
    """
    labels = [label for part in parts for label in part.labels]
    if not labels:
        return NOTHING
    counts = [len(part.labels) for part in parts]
    tile = np.repeat(np.arange(len(parts)), counts)
    corners = np.array(tiles, np.float64)[tile]
    local = np.concatenate([np.asarray(part.boxes).reshape(-1, 4) for part in parts])
    xyxy = local + np.tile(corners[:, :2], 2)
    scores = np.concatenate([np.asarray(part.scores, np.float64) for part in parts])
    edges = np.array([0, 0, width, height])
    cut = (np.abs(xyxy - corners) <= REACH * side) & (corners != edges)
    found = _Boxes(xyxy, scores, tile, cut)
    names = np.array(labels, object)
    merged = [
        (label, _of_one_label(found.at(np.flatnonzero(names == label)), REACH * side))
        for label in sorted(set(labels))
    ]
    return Found(
        np.concatenate([one.xyxy for _, one in merged]),
        [label for label, one in merged for _ in one.scores],
        np.concatenate([one.scores for _, one in merged]),
    )


def _of_one_label(boxes: _Boxes, reach: float) -> _Boxes:
    joined = _joined(boxes, reach)
    is_cut = joined.cut.any(axis=1)
    whole, pieces = joined.at(np.logical_not(is_cut)), joined.at(np.asarray(is_cut))
    if len(whole.scores) and len(pieces.scores):
        covered = (_shared(pieces.xyxy, whole.xyxy) >= INSIDE) & _apart(pieces, whole)
        pieces = pieces.at(np.logical_not(covered.any(axis=1)))
    return _best(_Boxes(*(np.concatenate(both) for both in zip(whole, pieces, strict=True))))


def _best(boxes: _Boxes) -> _Boxes:
    """Of those from different tiles that are the same, the higher score; rule 3."""
    same = (geometry.iou_matrix(boxes.xyxy, boxes.xyxy) >= SAME) & _apart(boxes, boxes)
    stays = np.ones(len(boxes.scores), np.bool_)
    for at in np.argsort(-boxes.scores, kind="stable"):
        if stays[at]:
            stays &= ~same[at]
    return boxes.at(stays)


def _apart(a: _Boxes, b: _Boxes) -> NDArray[np.bool_]:
    return np.asarray(a.tile[:, None] != b.tile[None, :])


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape `(N, M)`: the share of each of N boxes that lies in each of M others."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    return np.asarray(common / np.maximum(geometry.area(a), 1e-9)[:, None])


def _joined(boxes: _Boxes, reach: float) -> _Boxes:
    """Pieces of one thing as the box around them, and all others as they are; rule 1."""
    groups = list(_groups(_belong(boxes)))
    around, cut, tile = np.empty((len(groups), 4)), np.empty((len(groups), 4), np.bool_), []
    for number, group in enumerate(groups):
        mine = boxes.xyxy[group]
        around[number] = [*mine[:, :2].min(axis=0), *mine[:, 2:].max(axis=0)]
        # It is whole at an edge that one of the pieces reaches without being cut there.
        reaches = np.abs(mine - around[number]) <= reach
        cut[number] = np.logical_not((reaches & ~boxes.cut[group]).any(axis=0))
        # What was put together is of no tile.
        tile.append(int(boxes.tile[group[0]]) if len(group) == 1 else -1 - number)
    scores = np.array([boxes.scores[group].max() for group in groups])
    return _Boxes(around, scores, np.array(tile, np.intp), cut)


def _belong(pieces: _Boxes) -> NDArray[np.bool_]:
    """Shape `(N, N)`: whether two are pieces of one thing on both sides of a seam."""
    joined = np.zeros((len(pieces.scores), len(pieces.scores)), np.bool_)
    for across, along in ((0, 1), (1, 0)):
        low, high = pieces.xyxy[:, across], pieces.xyxy[:, across + 2]
        ends, begins = pieces.cut[:, across + 2], pieces.cut[:, across]
        # The first is cut at its far edge, the second at its near one, and they meet between.
        meet = (low[:, None] <= low[None, :]) & (low[None, :] <= high[:, None])
        pair = ends[:, None] & begins[None, :] & meet & (high[:, None] <= high[None, :])
        joined |= pair & (_range_iou(pieces.xyxy[:, along], pieces.xyxy[:, along + 2]) >= ALONG)
    return (joined | joined.T) & _apart(pieces, pieces)


def _range_iou(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    either = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
    return np.asarray(np.clip(common, 0, None) / np.maximum(either, 1e-9))


def _groups(linked: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Indices that hang together."""
    left = set(range(len(linked)))
    while left:
        group, edge = set[int](), {min(left)}
        while edge:
            group |= edge
            edge = set(np.flatnonzero(linked[sorted(edge)].any(axis=0)).tolist()) - group
        left -= group
        yield sorted(group)
