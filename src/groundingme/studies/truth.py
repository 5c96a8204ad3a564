"""True boxes that are not the data's own: moved, found by a detector, or agreed on by models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundingme.build import tables
from groundingme.build.records import Detections
from groundingme.build.suppress import POLICIES, suppress
from groundingme.errors import UsageError
from groundingme.geometry import Boxes, iou, iou_matrix
from groundingme.report.svg import Span
from groundingme.result import Result
from groundingme.schema import Sample
from groundingme.studies import subsets
from groundingme.studies.estimates import Bools, better, images, share
from groundingme.studies.study import Done

SAME = 0.5
"""Least IoU with the true box at which another box is one of the same thing."""
LIMITS = (0.5, 0.7, 0.9)
"""Largest IoU at which two detections do not clash, of each suppression policy."""
_COLUMNS = ("proposals", "candidates", "alternatives", "objects")
"""Columns of a data set in which further boxes may stand."""


def targets(samples: Sequence[Sample]) -> Boxes:
    """True boxes `(N, 4)`; NaN where there is none."""
    return np.array([one.target or (np.nan,) * 4 for one in samples], np.float64).reshape(-1, 4)


def jittered(boxes: Boxes, amount: float, seed: int) -> Boxes:
    """Boxes whose edges are moved by normal draws.

    Args:
        boxes: Shape `(N, 4)`, xyxy pixels.
        amount: Standard deviation, as a share of the side.
        seed: The same draws for every model and amount, so that they stay comparable.
    """
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + np.random.default_rng(seed).normal(0, 1, boxes.shape) * amount * sides
    return np.concatenate(
        [np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1
    )


def hits(result: Result, truth: Boxes, threshold: float) -> NDArray[np.bool_]:
    """Which samples are right if `truth` is true; rejections stay what they are.

    A positive without a box in `truth` is wrong.
    """
    found = np.asarray(result.scores.ious >= threshold)
    positive = ~np.asarray(result.scores.negatives, bool)
    found[positive] = iou(result.scores.boxes, truth)[positive] >= threshold
    return found


def nearest(boxes: Boxes, others: Sequence[Boxes]) -> Boxes:
    """For each box the one of its picture's others that overlaps it most; NaN below `SAME`."""
    found = np.full(boxes.shape, np.nan)
    for at, (box, around) in enumerate(zip(boxes, others, strict=True)):
        shared = iou_matrix(box[None], around)[0] if len(around) else np.zeros(0)
        if len(shared) and shared.max() >= SAME:
            found[at] = around[int(shared.argmax())]
    return found


def from_extra(samples: Sequence[Sample]) -> Iterator[tuple[str, Boxes]]:
    """Alternatives that the data's own columns name; the true box itself is none."""
    truth = targets(samples)
    for column in _COLUMNS:
        around = []
        for one, box in zip(samples, truth, strict=True):
            value = one.extra.get(column)
            rows: list[Any] = value if isinstance(value, list) else []
            listed = [edges for row in rows if (edges := _box(row))]
            array = np.array(listed, np.float64).reshape(-1, 4)
            around.append(array[np.abs(array - box).max(axis=1) > 1e-6] if len(array) else array)
        found = nearest(truth, around)
        if not np.isnan(found).all():
            yield f"the data's {column}", found


def _box(row: Any) -> list[float]:
    """Four numbers; none where the row holds no box."""
    value = row.get("bbox") or row.get("box") if isinstance(row, Mapping) else row
    if not isinstance(value, list | tuple) or len(value) != 4:
        return []
    return [float(edge) for edge in value]


def from_tables(folder: Path, samples: Sequence[Sample]) -> Iterator[tuple[str, Boxes]]:
    """What every suppression policy leaves of a detector's boxes, nearest to the true ones.

    Args:
        folder: Of a stage of a build that holds pictures with all that was detected (`detect`,
            `suppress`, `filter`), or the folder of the build's stages: its newest `detect` counts.
        samples: Their images are known by the pictures' ids.

    Raises:
        UsageError: There are no such tables, or none of these pictures.
    """
    detections = _detections(folder)
    names = [one.image.name if one.image else "" for one in samples]
    if not detections.keys() & set(names):
        raise UsageError(
            f"expected pictures such as {names[0]!r} in the tables of {folder}, got "
            f"{next(iter(detections), 'none')!r}; name the build that the data came from"
        )
    truth, empty = targets(samples), np.empty((0, 4))
    for policy in POLICIES:
        for limit in LIMITS if policy != "none" else LIMITS[:1]:
            kept = {name: _kept(one, policy, limit) for name, one in detections.items()}
            title = policy if policy == "none" else f"{policy}, IoU {limit:g}"
            yield f"{folder.name}: {title}", nearest(truth, [kept.get(n, empty) for n in names])


def _detections(folder: Path) -> dict[str, Detections]:
    stages = sorted(folder.glob("*-detect-*/"), key=lambda one: one.stat().st_mtime)
    shards = sorted((stages[-1] if stages else folder).glob("[0-9]*.parquet"))
    if not shards:
        raise UsageError(
            f"expected tables of a build's stage in {folder}, got none; name the folder of its "
            "stage detect"
        )
    return {one.id: one.found for path in shards for one in tables.read_pictures(path)}


def _kept(found: Detections, policy: str, limit: float) -> Boxes:
    keep = suppress(found.boxes, found.codes()[0], found.scores, policy=policy, iou=limit).keep
    return found.boxes[keep]


KINDS = ("another box", "a box where nothing should match", "nothing where one should")
"""What models agree on against the truth."""


class Doubt(NamedTuple):
    """A sample of which models agree on something else than the truth.

    Attributes:
        sample: Index of the sample.
        kind: Of `KINDS`.
        models: How many agree.
        box: The box that they agree on, the first model's of them; NaN where they reject.
        overlap: Its IoU with the true box; 0 where there is none.
    """

    sample: int
    kind: str
    models: int
    box: Boxes
    overlap: float


def doubts(results: Sequence[Result], threshold: float) -> list[Doubt]:
    """Samples of which two models or more, and more than half of them, agree against the truth.

    Boxes agree where each has the IoU `threshold` with the first model's of them.
    """
    first = results[0]
    truth = targets(first.samples)
    boxes = np.stack([one.scores.boxes for one in results])
    rejected = np.stack([[s.outcome == "rejected" for s in one.scores] for one in results])
    enough = max(2, len(results) // 2 + 1)
    found = []
    for at, negative in enumerate(first.scores.negatives):
        agree = np.nan_to_num(iou_matrix(boxes[:, at], boxes[:, at])) >= threshold
        lead = int(agree.sum(axis=1).argmax())
        most = int(agree[lead].sum())
        overlap = float(iou(boxes[lead, at][None], truth[at][None])[0])
        if most >= enough and (negative or overlap < threshold):
            kind = KINDS[1] if negative else KINDS[0]
            found.append(Doubt(at, kind, most, boxes[lead, at], overlap))
        elif not negative and rejected[:, at].sum() >= enough:
            nothing = np.full(4, np.nan)
            found.append(Doubt(at, KINDS[2], int(rejected[:, at].sum()), nothing, 0.0))
    return found


class Scale:
    """Scores of all models under one truth after another.

    Args:
        done: The runs.
    """

    def __init__(self, done: Sequence[Done]) -> None:
        self.done, self.names = done, [one.condition.label for one in done]
        self.samples = done[0].scored.samples
        self.targets = targets(self.samples)
        self.clusters = images(self.samples)
        self.pairs = np.argwhere(better(self.hits(self.targets, 0.5), self.clusters))

    def hits(self, boxes: Boxes, threshold: float) -> Bools:
        """Shape `(M, N)`."""
        return np.array([hits(one.scored, boxes, threshold) for one in self.done])

    def spans(self, boxes: Boxes, threshold: float) -> dict[str, Span]:
        """Share right of each model."""
        hits = self.hits(boxes, threshold)
        return {name: share(row, self.clusters) for name, row in zip(self.names, hits, strict=True)}

    def there(self, boxes: Boxes) -> float:
        """Share of the positives that have a box; NaN without any."""
        positive = ~np.isnan(self.targets).any(axis=1)
        found = np.asarray(~np.isnan(boxes[positive]).any(axis=1))
        return float(found.mean()) if len(found) else np.nan

    def overlap(self, boxes: Boxes) -> float:
        """Mean IoU with the data's own, where there is a box; NaN without any."""
        there = ~np.isnan(boxes).any(axis=1)
        return float(iou(boxes[there], self.targets[there]).mean()) if there.any() else np.nan

    def doubtful(self, found: Sequence[Doubt], kind: str) -> tuple[int, Span]:
        """Samples with a doubt of a kind, and their share."""
        marks = np.zeros(len(self.samples), bool)
        marks[[one.sample for one in found if one.kind == kind]] = True
        return int(marks.sum()), share(marks, self.clusters)

    def kept(self, boxes: Boxes, threshold: float) -> float:
        """Share of the clear pairs of models that are in the same order; NaN without any."""
        scores = self.hits(boxes, threshold).mean(axis=1)[None]
        return float(subsets.kept(scores, self.pairs)[0])
