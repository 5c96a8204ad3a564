"""Which of overlapping boxes stay: one policy a function, and `POLICIES` the table of them.

A detector that is asked for many tags finds one thing several times: twice under the same tag, or
under `duck` and under `bird`. Every policy here is greedy. The boxes are put in an order; from the
front, a box that is still there is kept, and every later box that clashes with it is suppressed.
So a suppressed box suppresses nothing, and each one names the kept box that it lost to.

================  ==============================================  ================================
policy            two boxes clash                                 which of them stays
================  ==============================================  ================================
``instances``     IoU above `iou`                                 whose class has more instances
``per-class``     the same class, IoU above `iou`                 the higher score
``agnostic``      IoU above `iou`                                 the higher score
``containment``   IoU above `iou`, or the same class and one of   no group box, then the higher
                  them more than `containment` inside the other   score
``none``          never                                           both
================  ==============================================  ================================

Ties go to the higher score, then to the larger area, then to the box that lies further left (its
x1, y1, x2 and y2 in turn), then to the lower label, and last to the earlier row. So the order in
which boxes come decides only between rows that are equal in everything.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundingme import geometry
from groundingme.errors import BoxError, UsageError
from groundingme.registry import unknown

BLOCK = 512
"""Most boxes that are compared with all others in one go."""

_PAIRS = 1 << 20
"""About how many pairs of boxes are looked at in one go, which bounds the memory."""

Indices = NDArray[np.intp]


class Pairs(NamedTuple):
    """Pairs of boxes that share pixels, in columns of one length P.

    Attributes:
        first: Index of one box.
        second: Index of the other.
        shared: Square pixels that they share.
    """

    first: Indices
    second: Indices
    shared: NDArray[np.float64]


class Suppressed(NamedTuple):
    """What a policy made of N boxes.

    Attributes:
        keep: Shape `(N,)`, bool.
        by: Shape `(N,)`, int: index of the kept box that each one lost to, -1 for kept ones.
    """

    keep: NDArray[np.bool_]
    by: Indices


@dataclasses.dataclass(frozen=True)
class Contest:
    """N boxes that compete, and the limits of the policy.

    Attributes:
        boxes: Shape `(4, N)`: x1, y1, x2, y2. Boxes that are not proper (see
            `geometry.validate`) are zeros here: they overlap nothing.
        areas: Shape `(N,)`.
        labels: Shape `(N,)`, codes of classes.
        scores: Shape `(N,)`.
        iou: Largest IoU at which boxes do not clash.
        containment: Largest share of the smaller box inside the larger at which they do not.
    """

    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    labels: Indices
    scores: NDArray[np.float64]
    iou: float
    containment: float

    def pairs(self, front: Indices, order: Indices) -> Pairs:
        """The pairs that share pixels of a box of `front` and one that comes later in `order`.

        `order` begins with `front`.
        """
        x1, y1, x2, y2 = self.boxes[:, order]
        a1, b1, a2, b2 = self.boxes[:, front, None]
        meet = (a1 < x2) & (a2 > x1) & (b1 < y2) & (b2 > y1)
        first, second = np.divmod(np.flatnonzero(meet), len(order))
        later = second > first
        first, second = order[first[later]], order[second[later]]
        x1, y1, x2, y2 = self.boxes
        wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
        high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
        return Pairs(first, second, wide * high)

    @functools.cached_property
    def all_pairs(self) -> Pairs:
        """Every pair that shares pixels, once, found from left to right; for `BLOCK` boxes at most.

        The same pairs as `pairs` gives, in a fraction of the time where boxes lie apart.
        """
        order = np.argsort(self.boxes[0], kind="stable")
        x1, y1, x2, y2 = self.boxes[:, order]
        # Box i meets the boxes after it that begin before it ends.
        after = np.arange(1, len(order) + 1)
        counts = np.maximum(np.searchsorted(x1, x2) - after, 0)
        first = np.repeat(after - 1, counts)
        second = np.arange(len(first)) + np.repeat(after - (np.cumsum(counts) - counts), counts)
        high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
        meet = high > 0
        first, second = first[meet], second[meet]
        wide = np.minimum(x2[first], x2[second]) - x1[second]
        return Pairs(order[first], order[second], wide * high[meet])

    def overlap(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Whether the IoU of each pair is above `iou`."""
        union = self.areas[pairs.first] + self.areas[pairs.second] - pairs.shared
        # Divided, not multiplied out: boxes that share exactly 7 pixels of 10 are at 0.7.
        return np.greater(pairs.shared / union, self.iou)

    def inside(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Whether more than `containment` of the smaller box of each pair lies in the larger."""
        smaller = np.minimum(self.areas[pairs.first], self.areas[pairs.second])
        return np.greater(pairs.shared / smaller, self.containment)

    def alike(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Whether both boxes of each pair are of one class."""
        return np.equal(self.labels[pairs.first], self.labels[pairs.second])

    @functools.cached_property
    def ranking(self) -> Indices:
        """Indices of all boxes, the higher score first, ties as the module says."""
        x1, y1, x2, y2 = self.boxes
        return np.lexsort((self.labels, y2, x2, y1, x1, -self.areas, -self.scores))

    def ranked_by(self, first: NDArray[Any]) -> Indices:
        """Indices of all boxes, a lower value of `first` before a higher one, then by `ranking`."""
        return self.ranking[np.argsort(first[self.ranking], kind="stable")]


Clash = Callable[[Contest, Pairs], NDArray[np.bool_]]
"""Whether the boxes of each pair cannot both stay."""


def _overlap(contest: Contest, pairs: Pairs) -> NDArray[np.bool_]:
    return contest.overlap(pairs)


def _overlap_alike(contest: Contest, pairs: Pairs) -> NDArray[np.bool_]:
    return contest.alike(pairs) & contest.overlap(pairs)


def _held_alike(contest: Contest, pairs: Pairs) -> NDArray[np.bool_]:
    return contest.alike(pairs) & contest.inside(pairs)


def _overlap_or_held(contest: Contest, pairs: Pairs) -> NDArray[np.bool_]:
    return contest.overlap(pairs) | _held_alike(contest, pairs)


def none(contest: Contest) -> Indices:
    """Keeps every box."""
    return np.full(len(contest.areas), -1, np.intp)


def per_class(contest: Contest) -> Indices:
    """Plain non-maximum suppression within each class."""
    return _greedy(contest, contest.ranking, _overlap_alike)


def agnostic(contest: Contest) -> Indices:
    """Plain non-maximum suppression over all classes at once."""
    return _greedy(contest, contest.ranking, _overlap)


def instances(contest: Contest) -> Indices:
    """Among overlapping boxes, the class with more instances in the image wins.

    Not the larger box, nor the more confident one: a crowd of twelve ducks of which four are also
    a bird stays a crowd of twelve ducks. The instances of a class are what `per_class` would
    keep of it at the same `iou`, so that a thing that was found twice counts once. They are
    counted once, before any class loses a box to another; boxes without an area do not count.

    Source:
        arXiv 2512.17495, which states the rule and no more; how instances are
        counted, ties and the order of suppression are choices made here.
    """
    singles = (per_class(contest) < 0) & (contest.areas > 0)
    counts = np.bincount(contest.labels[singles], minlength=contest.labels.max(initial=0) + 1)
    return _greedy(contest, contest.ranked_by(-counts[contest.labels]), _overlap)


def containment(contest: Contest) -> Indices:
    """Parts stay beside their wholes, and one thing is not boxed twice under one name.

    Of two boxes of one class of which one lies in the other, one goes: the *group box* where
    there is one (it holds two boxes of its class or more that hold nothing themselves, as a box
    around a bunch of bananas does), else the lower score (a box around half of a dog). Of
    different classes both stay, a wheel in its car, unless their IoU says that they are one
    thing with two names.
    """
    return _greedy(contest, contest.ranked_by(_groups(contest)), _overlap_or_held)


def _groups(contest: Contest) -> NDArray[np.bool_]:
    """Whether each box stands around several others of its class, shape `(N,)`."""
    single = (per_class(contest) < 0) & (contest.areas > 0)
    holds = np.zeros(len(single), bool)
    held = np.zeros(len(single), np.intp)
    # The smallest first: by the turn of a box, all that it may hold have had theirs.
    order = contest.ranked_by(contest.areas)
    while len(order):
        front, rest = _split(order)
        part, whole = _clashes(contest, front, order, _held_alike)
        part, whole = order[part], order[whole]
        both = single[part] & single[whole]
        part, whole = part[both], whole[both]
        holds[whole] = True
        held += np.bincount(whole[~holds[part]], minlength=len(held))
        order = rest
    return held > 1


POLICIES: dict[str, Callable[[Contest], Indices]] = {
    "instances": instances,
    "per-class": per_class,
    "agnostic": agnostic,
    "containment": containment,
    "none": none,
}
"""Every policy by name. A function takes a `Contest` and gives `by` of `Suppressed`."""


def suppress(
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    policy: str = "instances",
    iou: float = 0.7,
    containment: float = 0.9,
) -> Suppressed:
    """Which boxes of one image stay.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels. Boxes without an area (non-finite, swapped or
            degenerate) always stay and suppress nothing: `filters` turns them down by name.
        labels: Shape `(N,)`, the class of each as its place in a list of names, from 0.
        scores: Shape `(N,)`; higher is surer, NaN is the least sure.
        policy: A name of `POLICIES`.
        iou: In [0, 1]; boxes of a higher IoU clash.
        containment: In [0, 1]; boxes of one class clash where a larger share of the smaller one
            lies in the other. Only for the policy of that name.

    Returns:
        What is kept, and which kept box suppressed each other one.

    Raises:
        UnknownNameError: No policy has that name.
        UsageError: A limit is outside [0, 1].
        BoxError: The shapes do not fit each other.

    Example:
        >>> boxes = [[0, 0, 10, 10], [0, 0, 10, 11], [20, 0, 30, 10]]
        >>> suppress(boxes, [0, 1, 0], [0.5, 0.9, 0.4], policy="agnostic").by.tolist()
        [1, -1, -1]
        >>> suppress(boxes, [0, 1, 0], [0.5, 0.9, 0.4], policy="instances").by.tolist()
        [-1, 0, -1]
    """
    if policy not in POLICIES:
        raise unknown("suppression policy", policy, POLICIES)
    for name, limit in (("iou", iou), ("containment", containment)):
        if not 0.0 <= limit <= 1.0:
            raise UsageError(f"expected {name} in [0, 1], got {limit}")
    with np.errstate(all="ignore"):
        by = POLICIES[policy](_contest(boxes, labels, scores, iou, containment))
    return Suppressed(by < 0, by)


def _contest(
    boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike, iou: float, containment: float
) -> Contest:
    xyxy = geometry.as_boxes(boxes)
    codes, sure = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if codes.shape != (len(xyxy),) or sure.shape != (len(xyxy),):
        raise BoxError(
            f"expected a label and a score for each of {len(xyxy)} boxes, "
            f"got shapes {codes.shape} and {sure.shape}"
        )
    whole = np.issubdtype(codes.dtype, np.integer) or not len(codes)
    if not whole or codes.min(initial=0) < 0:
        raise BoxError("expected labels as places in a list of names, whole numbers from 0")
    columns = np.array(xyxy.T, order="C")
    wide, high = columns[2] - columns[0], columns[3] - columns[1]
    areas = wide * high
    proper = (wide > 0) & (high > 0) & (areas < np.inf)
    if not proper.all():
        columns[:, ~proper], areas[~proper] = 0.0, 0.0
    return Contest(columns, areas, codes.astype(np.intp), sure, iou, containment)


def _greedy(contest: Contest, order: Indices, clash: Clash) -> Indices:
    """Greedy suppression: index of the kept box that each one lost to, -1 for kept ones."""
    by = np.full(len(order), -1, np.intp)
    while len(order):
        front, rest = _split(order)
        strong, weak = _clashes(contest, front, order, clash)
        if not len(rest):
            lost = _settled(len(front), strong, weak)
            by[front] = np.where(lost < 0, -1, front[lost])
            break
        near = weak < len(front)
        lost = _settled(len(front), strong[near], weak[near])
        by[front] = np.where(lost < 0, -1, front[lost])
        far = ~near & (lost[strong] < 0)
        # Backwards, because the last of several values stays: that of the strongest box.
        winner = np.full(len(order), -1, np.intp)
        winner[weak[far][::-1]] = strong[far][::-1]
        winner = winner[len(front) :]
        by[rest] = np.where(winner < 0, -1, front[winner])
        order = rest[winner < 0]
    return by


def _clashes(
    contest: Contest, front: Indices, order: Indices, clash: Clash
) -> tuple[Indices, Indices]:
    """Places in `order` of the pairs that clash: of the stronger box, ascending, and the weaker.

    `order` begins with `front`, and the stronger box of each pair is one of these.
    """
    whole = len(contest.areas) <= BLOCK
    pairs = contest.all_pairs if whole else contest.pairs(front, order)
    hit = clash(contest, pairs)
    place = np.empty(len(contest.areas), np.intp)
    place[order] = np.arange(len(order))
    first, second = place[pairs.first[hit]], place[pairs.second[hit]]
    if not whole:
        return first, second
    strong, weak = np.minimum(first, second), np.maximum(first, second)
    ascending = np.argsort(strong, kind="stable")
    return strong[ascending], weak[ascending]


def _settled(count: int, strong: Indices, weak: Indices) -> Indices:
    """Greedy suppression of `count` boxes in order: the place each one lost to, or -1.

    Args:
        count: How many boxes.
        strong: Shape `(P,)`, ascending: place of the stronger box of each pair that clashes.
        weak: Shape `(P,)`: place of the weaker one.
    """
    lost = [-1] * count
    # Pairs come by the stronger box, so that its own fate is settled when its turn comes.
    for i, j in zip(strong.tolist(), weak.tolist(), strict=True):
        if lost[i] < 0 and lost[j] < 0:
            lost[j] = i
    return np.array(lost, np.intp)


def _split(order: Indices) -> tuple[Indices, Indices]:
    """The front of boxes that are compared with all others in one go, and the rest."""
    block = min(BLOCK, max(16, _PAIRS // len(order)))
    return order[:block], order[block:]
