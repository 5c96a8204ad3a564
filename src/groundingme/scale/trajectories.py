"""N sampled answers to each of S samples, as arrays, and how they cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry, protocols
from groundingme.protocols import BOX, REJECTED, Scores
from groundingme.schema import Generation, Sample

AGREE = 0.5
"""Least IoU of two boxes that count as the same answer."""


class Trajectories(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """N answers to each of S samples.

    Attributes:
        ids: The samples' ids.
        subtask_l1: Category of each sample, or "".
        subtask_l2: Subtask of each sample, or "".
        negatives: Shape `(S,)`: whether nothing in the image matches.
        targets: Shape `(S, 4)`, xyxy pixels; NaN where nothing matches.
        outcome: Shape `(S, N)`, index into `protocols.OUTCOMES`; failed where there is none.
        boxes: Shape `(S, N, 4)`, xyxy pixels; NaN unless the outcome is box.
        confidence: Shape `(S, N)`, in [0, 1]; NaN where there is none.
        reasoning: Shape `(S, N)`: length of the reasoning, in tokens where the server counts
            them, else in characters.
        tokens: Shape `(S, N)`: completion tokens; NaN where the server does not count.
        shared: What `agreement` gives, where it is kept; see `keep`.
        label: What `clusters` gives, likewise.
    """

    ids: list[str]
    subtask_l1: list[str]
    subtask_l2: list[str]
    negatives: NDArray[np.bool_]
    targets: NDArray[np.float64]
    outcome: NDArray[np.int8]
    boxes: NDArray[np.float64]
    confidence: NDArray[np.float64]
    reasoning: NDArray[np.float64]
    tokens: NDArray[np.float64]
    shared: NDArray[np.float64] | None = None
    label: NDArray[np.intp] | None = None

    @property
    def n(self) -> int:
        """Trajectories of each sample."""
        return int(self.outcome.shape[1])

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, order: NDArray[np.intp]) -> Trajectories:
        """Some trajectories of each sample, in that order.

        Args:
            order: Shape `(S, K)`: indices of trajectories, row by row.
        """
        rows = np.arange(len(self))[:, None]
        return msgspec.structs.replace(
            self,
            outcome=self.outcome[rows, order],
            boxes=self.boxes[rows, order],
            confidence=self.confidence[rows, order],
            reasoning=self.reasoning[rows, order],
            tokens=self.tokens[rows, order],
            shared=(
                None
                if self.shared is None
                else self.shared[rows[..., None], order[:, :, None], order[:, None]]
            ),
            label=None,
        )

    def of(self, rows: Sequence[int]) -> Trajectories:
        """Some samples, in that order."""
        at = np.array(rows, dtype=np.intp)
        taken: dict[str, Any] = {}
        for name in self.__struct_fields__:
            column = getattr(self, name)
            if isinstance(column, np.ndarray):
                taken[name] = column[at]
            elif isinstance(column, list):
                taken[name] = [column[row] for row in at.tolist()]
        return msgspec.structs.replace(self, **taken)

    def first(self, k: int) -> Trajectories:
        """The first K trajectories of each sample."""
        return self.take(np.broadcast_to(np.arange(k), (len(self), k)))

    def shuffled(self, rng: np.random.Generator) -> Trajectories:
        """The trajectories of each sample in an order of its own."""
        return self.take(np.argsort(rng.random(self.outcome.shape), axis=1))

    def right(self, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Shape `(S, N)`: whether a trajectory is right, a rejection where nothing matches."""
        targets = np.repeat(self.targets[:, None], self.n, axis=1)
        return correct(self.outcome, self.boxes, targets, self.negatives[:, None], threshold)


def correct(
    outcome: NDArray[np.int8],
    boxes: NDArray[np.float64],
    targets: NDArray[np.float64],
    negatives: NDArray[np.bool_],
    threshold: float = 0.5,
) -> NDArray[np.bool_]:
    """Whether answers are right: IoU of at least `threshold`, or a rejection where none matches.

    Args:
        outcome: Any shape, index into `protocols.OUTCOMES`.
        boxes: That shape and 4, xyxy pixels; NaN unless the outcome is box.
        targets: Likewise; NaN where nothing matches.
        negatives: Broadcast to that shape.
        threshold: In (0, 1].
    """
    with np.errstate(invalid="ignore"):
        ious = geometry.iou(boxes.reshape(-1, 4), targets.reshape(-1, 4)).reshape(outcome.shape)
        found = (outcome == BOX) & (np.nan_to_num(ious) >= threshold)
    return np.asarray(np.where(negatives, outcome == REJECTED, found))


def gather(
    samples: Sequence[Sample],
    generations: Mapping[tuple[str, int], Generation],
    n: int,
    coords: str,
) -> Trajectories:
    """Reads stored replies as the strict protocol does.

    Args:
        samples: In the order of the data set.
        generations: By sample id and trajectory; an absent one counts as failed.
        n: Trajectories of each sample, numbered from 0.
        coords: Name of the model's coordinate format.
    """
    columns: list[Scores] = []
    extra = np.full((3, len(samples), n), np.nan)
    for k in range(n):
        of_k = {s.id: generations[s.id, k] for s in samples if (s.id, k) in generations}
        columns.append(protocols.score(samples, of_k, protocol="strict", coords=coords))
        for row, sample in enumerate(samples):
            if one := of_k.get(sample.id):
                extra[:, row, k] = _numbers(one)
    return from_scores(samples, columns, *extra)


def _numbers(one: Generation) -> tuple[float, float, float]:
    """Confidence, length of the reasoning and tokens; NaN where unknown."""
    return (
        np.nan if one.confidence is None else one.confidence,
        len(one.reasoning) if one.reasoning_tokens is None else one.reasoning_tokens,
        np.nan if one.completion_tokens is None else one.completion_tokens,
    )


def from_scores(
    samples: Sequence[Sample],
    columns: Sequence[Scores],
    confidence: NDArray[np.float64],
    reasoning: NDArray[np.float64],
    tokens: NDArray[np.float64],
) -> Trajectories:
    """Trajectories from the scores of each; the arrays have shape `(S, N)`."""
    negatives = columns[0].negatives
    targets = np.array(
        [
            (np.nan,) * 4 if nothing or s.target is None else s.target
            for s, nothing in zip(samples, negatives, strict=True)
        ],
        dtype=np.float64,
    ).reshape(-1, 4)
    return Trajectories(
        ids=columns[0].ids,
        subtask_l1=columns[0].subtask_l1,
        subtask_l2=columns[0].subtask_l2,
        negatives=negatives,
        targets=targets,
        outcome=np.stack([one.outcome for one in columns], axis=1),
        boxes=np.stack([one.boxes for one in columns], axis=1),
        confidence=confidence,
        reasoning=reasoning,
        tokens=tokens,
    )


def agreement(t: Trajectories) -> NDArray[np.float64]:
    """How much each two trajectories of a sample agree.

    Returns:
        Shape `(S, N, N)`, in [0, 1]: the IoU of two boxes, 1 for two rejections, else 0. What
        could not be read, or failed, agrees with nothing, itself included.
    """
    if t.shared is not None:
        return t.shared
    s, n = t.outcome.shape
    one = np.repeat(t.boxes[:, :, None], n, axis=2).reshape(-1, 4)
    other = np.repeat(t.boxes[:, None], n, axis=1).reshape(-1, 4)
    shared = np.nan_to_num(geometry.iou(one, other)).reshape(s, n, n)
    null = t.outcome == REJECTED
    shared[null[:, :, None] & null[:, None]] = 1.0
    # A box without area overlaps nothing, but it is still one answer.
    at = np.arange(n)
    shared[:, at, at] = answered(t)
    return shared


def answered(t: Trajectories) -> NDArray[np.bool_]:
    """Shape `(S, N)`: whether a trajectory gave a box or a rejection."""
    return np.asarray((t.outcome == BOX) | (t.outcome == REJECTED))


def clusters(t: Trajectories, threshold: float = AGREE) -> NDArray[np.intp]:
    """Which trajectories of a sample give the same answer.

    The trajectory with which most others agree leads the first cluster (of equals the one with
    more IoU to them, then the earlier one), all that agree with it belong to it, and so on with
    the rest. All rejections are one cluster.

    Args:
        t: Answers.
        threshold: Least IoU to agree with a leader, in (0, 1].

    Returns:
        Shape `(S, N)`: the leader's index; -1 for what could not be read or failed.
    """
    if t.label is not None and threshold == AGREE:
        return t.label
    shared = agreement(t)
    near = shared >= threshold
    free = answered(t)
    label = np.full(t.outcome.shape, -1, dtype=np.intp)
    rows = np.arange(len(t))
    while free.any():
        open_ = free[:, None]
        degree = (near & open_).sum(axis=2) + (shared * open_).sum(axis=2) / (t.n + 1)
        leader = np.where(free, degree, -1.0).argmax(axis=1)
        members = near[rows, leader] & free
        label = np.where(members, leader[:, None], label)
        free &= ~members
    return label


def keep(t: Trajectories) -> Trajectories:
    """The same, with agreement and clusters kept for whoever asks for them again.

    Agreement goes along where some trajectories are taken, clusters do not.
    """
    t = msgspec.structs.replace(t, shared=agreement(t))
    return msgspec.structs.replace(t, label=clusters(t))


def sizes(
    label: NDArray[np.intp], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How many trajectories, or how much weight, each leader's cluster has.

    Args:
        label: Shape `(S, N)`, as `clusters` gives it.
        weights: Shape `(S, N)`; 1 each by default.

    Returns:
        Shape `(S, N)`: at a leader's index the size of its cluster, else 0.
    """
    s, n = label.shape
    total = np.zeros((s, n + 1))
    values = np.ones((s, n)) if weights is None else weights
    np.add.at(total, (np.arange(s)[:, None], label), values)
    return total[:, :n]
