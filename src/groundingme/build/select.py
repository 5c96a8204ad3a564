"""Which candidates become targets: quotas by subtask, balanced over classes and images.

The subtasks are filled one after another, the scarcest first: the one with the fewest candidates
for each target that is wanted. Within a subtask the class with the fewest targets so far has the
next turn, and takes the best box it has in an image that no target lies in yet; only when no
class has such an image left may images give a second target, then a third. What is equal after
that is decided by the seed. So the choice depends on the candidates and the seed, and not on the
order in which the candidates come.
"""

from __future__ import annotations

import heapq
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import taxonomy
from groundingme.errors import BoxError
from groundingme.registry import unknown

Count = Annotated[int, msgspec.Meta(ge=0)]
Cap = Annotated[int, msgspec.Meta(ge=1)]

Indices = NDArray[np.intp]


class SelectOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How many targets, and how they are spread.

    Attributes:
        per_subtask: Targets wanted of each subtask: one number for all, or a table by name such
            as `{"Spatial/Counting" = 150}`. Subtasks that the table leaves out get none.
        per_image: Most targets in one image, over all subtasks.
        per_class: Most targets of one class, over all subtasks; None for no limit.
        seed: Of what chance decides.
    """

    per_subtask: Count | dict[str, Count] = 50
    per_image: Cap = 3
    per_class: Cap | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.wanted()

    def wanted(self) -> NDArray[np.intp]:
        """Targets wanted of each row of `taxonomy.SUBTASKS`, shape `(12,)`.

        Raises:
            UnknownNameError: The table names a subtask that there is not.
        """
        names = [row.name for row in taxonomy.SUBTASKS]
        if isinstance(self.per_subtask, int):
            return np.full(len(names), self.per_subtask, np.intp)
        for name in self.per_subtask:
            if name not in names:
                raise unknown("subtask", name, names)
        return np.array([self.per_subtask.get(name, 0) for name in names], np.intp)


class Supply(NamedTuple):
    """How one subtask fared.

    Attributes:
        subtask: Its name, `L1/L2`.
        wanted: Targets that were asked for.
        had: Candidates that suit it, whether or not another subtask took them.
        chosen: Targets that it got.
    """

    subtask: str
    wanted: int
    had: int
    chosen: int


class Selected(NamedTuple):
    """What was chosen of M candidates.

    Attributes:
        subtask: Shape `(M,)`, int: the row of `taxonomy.SUBTASKS` that each candidate was chosen
            for, -1 where it was not.
        supply: One row a subtask, in the order of the taxonomy.
    """

    subtask: NDArray[np.intp]
    supply: list[Supply]


def select(
    images: ArrayLike,
    boxes: ArrayLike,
    labels: ArrayLike,
    suits: ArrayLike,
    scores: ArrayLike,
    options: SelectOptions | None = None,
) -> Selected:
    """Chooses targets among the candidates of all images. A box is used once at most.

    Takes O(M log M) time for M candidates.

    Args:
        images: Shape `(M,)`, whole numbers: the image of each candidate.
        boxes: Shape `(M,)`, whole numbers: its box within the image.
        labels: Shape `(M,)`, whole numbers: its class, the same number in all images.
        suits: Shape `(M, 12)`, bool: the subtasks that it suits, in the taxonomy's order.
        scores: Shape `(M,)`: of boxes of one class in one image the highest comes first.
        options: The quotas; the defaults where there are none.

    Returns:
        What each candidate was chosen for, and how each subtask fared.

    Raises:
        BoxError: The shapes do not fit each other, or a box comes twice.
        UnknownNameError: A quota names a subtask that there is not.
    """
    options = options or SelectOptions()
    wanted = options.wanted()
    image, box, label = (np.asarray(one).astype(np.intp) for one in (images, boxes, labels))
    table, sure = np.asarray(suits, dtype=bool), np.asarray(scores, dtype=np.float64)
    count = len(sure)
    shapes = [image.shape, box.shape, label.shape, sure.shape]
    if any(one != (count,) for one in shapes) or table.shape != (count, len(wanted)):
        raise BoxError(
            f"expected columns of one length and {len(wanted)} columns of subtasks, "
            f"got shapes {[*shapes, table.shape]}"
        )
    pool = _Pool(image, box, label, sure, options)
    had = table.sum(axis=0)
    chosen = np.full(count, -1, np.intp)
    plenty = had / np.maximum(wanted, 1)
    for subtask in np.argsort(plenty, kind="stable").tolist():
        rows = np.flatnonzero(table[:, subtask] & (chosen < 0))
        chosen[pool.take(rows, int(wanted[subtask]))] = subtask
    got = np.bincount(chosen[chosen >= 0], minlength=len(wanted))
    supply = [
        Supply(row.name, *numbers)
        for row, *numbers in zip(
            taxonomy.SUBTASKS, wanted.tolist(), had.tolist(), got.tolist(), strict=True
        )
    ]
    return Selected(chosen, supply)


class _Pool:
    """Candidates, and how many targets each image and class gave so far."""

    def __init__(
        self,
        images: Indices,
        boxes: Indices,
        labels: Indices,
        scores: NDArray[np.float64],
        options: SelectOptions,
    ) -> None:
        order = np.lexsort((boxes, images))
        twice = (np.diff(images[order]) == 0) & (np.diff(boxes[order]) == 0)
        if twice.any():
            row = order[int(np.argmax(twice))]
            raise BoxError(
                f"expected each box once, got box {boxes[row]} of image {images[row]} twice"
            )
        draw = np.random.default_rng(options.seed)
        self._image = _shuffled(images, draw)
        self._label = _shuffled(labels, draw)
        self._per_image = options.per_image
        self._per_class = len(scores) if options.per_class is None else options.per_class
        self._of_image = np.zeros(self._image.max(initial=-1) + 1, np.intp)
        self._of_label = np.zeros(self._label.max(initial=-1) + 1, np.intp)
        place = _place(self._image, self._label, scores, boxes)
        self._rank = np.empty(len(scores), np.intp)
        self._rank[np.lexsort((boxes, self._image, place))] = np.arange(len(scores))

    def take(self, rows: Indices, wanted: int) -> list[int]:
        """Chooses up to `wanted` of `rows`."""
        taken: list[int] = []
        here = np.zeros(len(self._of_label), np.intp)
        for level in range(1, self._per_image + 1):
            if len(taken) >= wanted:
                break
            room = self._of_image[self._image[rows]] < level
            room &= self._of_label[self._label[rows]] < self._per_class
            room[np.isin(rows, taken)] = False
            taken += self._round(rows[room], wanted - len(taken), level, here)
        return taken

    def _round(self, rows: Indices, wanted: int, level: int, here: Indices) -> list[int]:
        """Chooses while images have fewer than `level` targets; `here` counts by class."""
        if not len(rows):
            return []
        rows = rows[np.lexsort((self._rank[rows], self._label[rows]))]
        labels, starts = np.unique(self._label[rows], return_index=True)
        ends = np.append(starts[1:], len(rows)).tolist()
        queues = zip(labels.tolist(), starts.tolist(), ends, strict=True)
        turns = [(int(here[c]), int(self._of_label[c]), c, start, end) for c, start, end in queues]
        heapq.heapify(turns)
        taken: list[int] = []
        while turns and len(taken) < wanted:
            _, _, label, at, end = heapq.heappop(turns)
            while at < end and self._of_image[self._image[rows[at]]] >= level:
                at += 1
            if at == end or self._of_label[label] >= self._per_class:
                continue
            row = int(rows[at])
            taken.append(row)
            self._of_image[self._image[row]] += 1
            self._of_label[label] += 1
            here[label] += 1
            turn = (int(here[label]), int(self._of_label[label]), label, at + 1, end)
            heapq.heappush(turns, turn)
        return taken


def _shuffled(values: Indices, draw: np.random.Generator) -> Indices:
    """A number for each distinct value, from 0, in an order that chance decides."""
    distinct, index = np.unique(values, return_inverse=True)
    return np.asarray(draw.permutation(len(distinct))[index.reshape(-1)], np.intp)


def _place(
    images: Indices, labels: Indices, scores: NDArray[np.float64], boxes: Indices
) -> Indices:
    """Place of each candidate among those of its image and class, the highest score first."""
    order = np.lexsort((boxes, -scores, labels, images))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(images[order]) != 0) | (np.diff(labels[order]) != 0)
    counted = np.arange(len(order))
    place = np.empty(len(order), np.intp)
    place[order] = counted - np.maximum.accumulate(np.where(first, counted, 0))
    return place
