"""Answers against targets: one row a sample, under one of three protocols.

`strict` is ours. Only an explicit rejection is a rejection, the numbers are read in the format
that the model declares, and every sample of the data set counts: without a reply, or with one
that says nothing readable, it is wrong. `official` and `official-lmms-eval` give the figures of
the two published scorers (see `official`). All are computed from the same stored generations.

What becomes of a sample under each:

=====================================  ======================  ================================
the sample has                         `strict`                `official*`
=====================================  ======================  ================================
no generation, or one that failed      failed, IoU 0           failed, outside the denominator
a `problem`                            failed, IoU 0           failed, outside the denominator
a reply without a readable answer      unparsed, IoU 0         the last four numbers, else a
                                                               rejection
a rejection, and no target             rejected, IoU 1         rejected, IoU 1
a rejection, and a target              rejected, IoU 0         rejected, IoU 0
a box, and no target                   box, IoU 0              box, IoU 0
a box, and a target                    box, IoU as declared    box, IoU of its best reading
a box without the size it needs        unparsed, IoU 0         box, as written
a box that is not finite in pixels     unparsed, IoU 0         box, IoU 0 or NaN
=====================================  ======================  ================================

A sample has no target where `target` is None or its category is Rejection. Where the data set
does not know an image's size, the size of the image as sent stands in for it. Where an image was
resized before it was sent, numbers in pixels are those of the image as sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry, official
from groundingme.geometry import Boxes, CoordFormat, coord_format
from groundingme.parsing import answer_of
from groundingme.registry import unknown
from groundingme.schema import Generation, Outcome, Sample, Score
from groundingme.taxonomy import REJECTION

PROTOCOLS = ("strict", "official", "official-lmms-eval")

OUTCOMES: tuple[Outcome, ...] = ("box", "rejected", "unparsed", "failed")
"""What `Scores.outcome` indexes."""

BOX, REJECTED, UNPARSED, FAILED = range(4)

_NO_BOX = (np.nan,) * 4
_ZEROS = (0.0,) * 4


class Scores(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Scores of N samples, column by column, in the order of the data set.

    `scores[i]` and iteration give one `Score` a sample.

    Attributes:
        protocol: Whose scores these are.
        coords: The declared coordinate format; "" under the official protocols, which ignore it.
        ids: The samples' ids.
        subtask_l1: Category of each, or "".
        subtask_l2: Subtask of each, or "".
        negatives: Shape `(N,)`: whether nothing in the image matches, so that a rejection is right.
        outcome: Shape `(N,)`, index into `OUTCOMES`.
        reasons: Short stable words: how a reply was read, or why there is none.
        written: Shape `(N, 4)`: the numbers as the reply has them; NaN where there are none.
        boxes: Shape `(N, 4)`, xyxy pixels: the box that was scored; NaN unless the outcome is box.
        ious: Shape `(N,)`, in [0, 1]; NaN is possible under `official-lmms-eval` only.
        centers: Shape `(N,)`: whether the box's centre lies in the target.
        scored: Shape `(N,)`: whether the sample is in the denominator.
    """

    protocol: str
    coords: str
    ids: list[str]
    subtask_l1: list[str]
    subtask_l2: list[str]
    negatives: NDArray[np.bool_]
    outcome: NDArray[np.int8]
    reasons: list[str]
    written: Boxes
    boxes: Boxes
    ious: NDArray[np.float64]
    centers: NDArray[np.bool_]
    scored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Score:
        x1, y1, x2, y2 = self.boxes[index].tolist()
        return Score(
            id=self.ids[index],
            outcome=OUTCOMES[self.outcome[index]],
            reason=self.reasons[index],
            box=(x1, y1, x2, y2) if self.outcome[index] == BOX else None,
            iou=float(self.ious[index]),
            center=bool(self.centers[index]),
            scored=bool(self.scored[index]),
        )

    def __iter__(self) -> Iterator[Score]:
        return (self[index] for index in range(len(self)))


def score(
    samples: Sequence[Sample],
    generations: Mapping[str, Generation],
    *,
    protocol: str,
    coords: str = "abs",
) -> Scores:
    """Scores every sample.

    Args:
        samples: All samples of the data set: the denominator of `strict`.
        generations: By sample id; others are ignored, absent ones count as failed.
        protocol: One of `PROTOCOLS`.
        coords: Name of the coordinate format that the model declares; `strict` alone uses it.

    Raises:
        UnknownNameError: No protocol or coordinate format has that name.
    """
    form = coord_format(coords)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    if protocol == "strict":
        return _strict(samples, generations, form)
    return _official(samples, generations, protocol)


def _why_failed(sample: Sample, generation: Generation | None) -> str:
    if sample.problem:
        return "bad-sample"
    if generation is None:
        return "not-asked"
    return generation.failure


def _negatives(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    return np.array([s.target is None or s.subtask_l1 == REJECTION for s in samples], dtype=bool)


def _targets(samples: Sequence[Sample]) -> Boxes:
    """Shape `(N, 4)`, with 0, 0, 0, 0 where nothing matches."""
    numbers = [
        number
        for s in samples
        for number in (s.target if s.target and s.subtask_l1 != REJECTION else _ZEROS)
    ]
    return np.array(numbers, dtype=np.float64).reshape(-1, 4)


def _sizes(samples: Sequence[Sample], generations: Mapping[str, Generation]) -> Boxes:
    """Shape `(N, 2)`, width and height in pixels; 0 where neither data set nor reply knows."""
    sizes = np.empty((len(samples), 2))
    sizes[:, 0] = [s.width for s in samples]
    sizes[:, 1] = [s.height for s in samples]
    for i in np.flatnonzero((sizes <= 0).any(axis=1)).tolist():
        sent = generations.get(samples[i].id)
        if sent:
            sizes[i] = (sent.full_width or sent.sent_width, sent.full_height or sent.sent_height)
        else:
            sizes[i] = 0
    return sizes


def frames(samples: Sequence[Sample], generations: Mapping[str, Generation]) -> tuple[Boxes, Boxes]:
    """Width and height in pixels of each original and of each image as sent, shape `(N, 2)` each.

    They differ only where an image was resized before it was sent; 0 where nobody knows.
    """
    sizes = _sizes(samples, generations)
    sent = sizes.copy()
    for i, sample in enumerate(samples):
        one = generations.get(sample.id)
        if one and one.full_width:
            sent[i] = (one.sent_width, one.sent_height)
    return sizes, sent


def _pixels(form: CoordFormat, written: Boxes, sizes: Boxes, sent: Boxes) -> Boxes:
    """Pixels of the originals from what models wrote of the images that were sent to them."""
    scale = np.divide(sizes, sent, out=np.ones_like(sizes), where=sent > 0)
    return np.asarray(form.to_pixels(written, sent) * np.tile(scale, 2))


def _strict(
    samples: Sequence[Sample], generations: Mapping[str, Generation], form: CoordFormat
) -> Scores:
    codes = {name: code for code, name in enumerate(OUTCOMES)}
    outcomes: list[int] = []
    reasons: list[str] = []
    numbers: list[float] = []
    for sample in samples:
        generation = generations.get(sample.id)
        failure = _why_failed(sample, generation)
        if failure or generation is None:
            outcomes.append(FAILED)
            reasons.append(failure)
            numbers += _NO_BOX
            continue
        answer = answer_of(generation)
        outcomes.append(codes[answer.outcome])
        reasons.append(answer.reason)
        numbers += answer.coords or _NO_BOX
    n = len(samples)
    outcome = np.array(outcomes, dtype=np.int8)
    written = np.array(numbers, dtype=np.float64).reshape(n, 4)
    negatives, targets = _negatives(samples), _targets(samples)
    sizes, sent = frames(samples, generations)
    boxes = np.full((n, 4), np.nan)
    sized = np.asarray((sizes > 0).all(axis=1))
    if form.scale is None and form.resize is None:
        sized[:] = True
    with np.errstate(all="ignore"):
        rows = (outcome == BOX) & sized
        boxes[rows] = _pixels(form, written[rows], sizes[rows], sent[rows])
        usable = np.isfinite(boxes).all(axis=1)
        for i in np.flatnonzero((outcome == BOX) & ~usable).tolist():
            reasons[i] = "non-finite" if sized[i] else "unknown-size"
        outcome[(outcome == BOX) & ~usable] = UNPARSED
        boxes[~usable] = np.nan
        right = negatives & (outcome == REJECTED)
        ious = np.where(negatives, right, geometry.iou(boxes, targets))
        centers = np.where(negatives, right, geometry.center_in(boxes, targets))
    return Scores(
        protocol="strict",
        coords=form.name,
        ids=[s.id for s in samples],
        subtask_l1=[s.subtask_l1 for s in samples],
        subtask_l2=[s.subtask_l2 for s in samples],
        negatives=negatives,
        outcome=outcome,
        reasons=reasons,
        written=written,
        boxes=boxes,
        ious=ious,
        centers=centers,
        scored=np.ones(n, dtype=bool),
    )


def _official(
    samples: Sequence[Sample], generations: Mapping[str, Generation], protocol: str
) -> Scores:
    lmms_eval = protocol == "official-lmms-eval"
    failures: list[str] = []
    numbers: list[float] = []
    for sample in samples:
        generation = generations.get(sample.id)
        failure = _why_failed(sample, generation)
        failures.append(failure)
        if failure or generation is None:
            numbers += _ZEROS
        else:
            numbers += official.parse_official(generation.text)
    n = len(samples)
    scored = np.array([not failure for failure in failures], dtype=bool)
    written = np.array(numbers, dtype=np.float64).reshape(n, 4)
    targets = _targets(samples)
    choice = official.choose(written, targets, _sizes(samples, generations), lmms_eval=lmms_eval)
    is_box = scored & (written != 0).any(axis=1)
    outcome = np.where(is_box, BOX, np.where(scored, REJECTED, FAILED)).astype(np.int8)
    return Scores(
        protocol=protocol,
        coords="",
        ids=[s.id for s in samples],
        subtask_l1=[s.subtask_l1 for s in samples],
        subtask_l2=[s.subtask_l2 for s in samples],
        negatives=_negatives(samples),
        outcome=outcome,
        reasons=[
            failure or (official.READINGS[reading] if box else "zeros")
            for failure, reading, box in zip(
                failures, choice.readings.tolist(), is_box.tolist(), strict=True
            )
        ],
        written=np.where(is_box[:, None], written, np.nan),
        boxes=np.where(is_box[:, None], choice.boxes, np.nan),
        ious=np.where(scored, choice.ious, 0.0),
        centers=scored & official.centers(targets, choice.boxes),
        scored=scored,
    )


_NEAREST = {
    "n1000": ("n999",),
    # Up to 4,096 patches both rules give the same image, and the first of equal readings counts.
    "abs-qwen2.5-vl": ("abs-mimo-vl", "abs-qwen2.5-vl"),
}
"""The official readings nearest to a declared format, where it is not the one of its name."""

_OTHERWISE = {
    "n1000": "divides by 999 instead of 1000",
    "abs-mimo-vl": "swaps width and height of the resized image",
    "abs-qwen2.5-vl": "swaps width and height of the resized image",
}
"""What the official reading nearest to a declared format does otherwise."""


def explain_difference(strict: Scores, official: Scores) -> str:
    """Why the official protocol says something else, in one line; "" where all IoUs agree.

    Args:
        strict: Scores under `strict`.
        official: Scores of the same samples under `official` or `official-lmms-eval`.

    Returns:
        Each cause with the number of samples whose IoU or place in the denominator it changes,
        such as "official counts 14 unparsable replies as correct rejections, and leaves 3 failed
        samples out".
    """
    was, now, negative = strict.outcome, official.outcome, strict.negatives
    differs = official.scored & ~(np.abs(strict.ious - official.ious) <= 1e-12)
    nothing = differs & (now == REJECTED)
    undefined = differs & np.isnan(official.ious)
    found = differs & (now == BOX) & ~undefined
    same_numbers = found & (was == BOX) & (strict.written == official.written).all(axis=1)
    gains = official.ious > strict.ious
    nearest = _NEAREST.get(strict.coords, (strict.coords,))
    as_near = np.array([reason in nearest for reason in official.reasons], dtype=bool)
    otherwise = _OTHERWISE.get(strict.coords, "")
    causes = (
        (
            nothing & negative & (was == UNPARSED),
            "counts {} unparsable reply as a correct rejection",
            "counts {} unparsable replies as correct rejections",
        ),
        (
            nothing & negative & (was == BOX),
            "counts {} box that it cannot read as a correct rejection",
            "counts {} boxes that it cannot read as correct rejections",
        ),
        (
            nothing & ~negative & (was == BOX),
            "cannot read {} box",
            "cannot read {} boxes",
        ),
        (
            nothing & ~negative & (was != BOX),
            "takes {} target of zeros for a rejection",
            "takes {} targets of zeros for rejections",
        ),
        (
            found & (was == REJECTED),
            "takes {} rejection for a box",
            "takes {} rejections for boxes",
        ),
        (
            found & (was == UNPARSED),
            "takes numbers in {} unparsable reply for a box",
            "takes numbers in {} unparsable replies for boxes",
        ),
        (
            found & (was == BOX) & ~same_numbers,
            "takes other numbers for the answer in {} reply",
            "takes other numbers for the answer in {} replies",
        ),
        (
            same_numbers & ~as_near & gains,
            "picks a coordinate reading by the ground truth in {} sample",
            "picks a coordinate reading by the ground truth in {} samples",
        ),
        (
            same_numbers & ~as_near & ~gains,
            f"cannot read {{}} box as {strict.coords}",
            f"cannot read {{}} boxes as {strict.coords}",
        ),
        (
            same_numbers & as_near,
            f"{otherwise} in {{}} sample",
            f"{otherwise} in {{}} samples",
        ),
        (
            undefined,
            "computes no IoU for {} box",
            "computes no IoU for {} boxes",
        ),
        (
            ~official.scored,
            "leaves {} failed sample out",
            "leaves {} failed samples out",
        ),
    )
    counted = [(int(mask.sum()), one, many) for mask, one, many in causes]
    parts = [(one if n == 1 else many).format(n) for n, one, many in counted if n]
    if not parts:
        return ""
    *first, last = parts
    return f"{official.protocol} " + (f"{', '.join(first)}, and {last}" if first else last)


_HINT_POSITIVES = 2000
_HINT_BOXES = 20
_HINT_GAIN = 0.1
# 0-999 and 0-1000 part by a thousandth of the image, which hardly moves Acc@0.5.
_HINT_TIE = 0.01
_HINT_FORMATS = (
    "abs",
    "n1000",
    "n999",
    "n1",
    "n1000-yxyx",
    "n1-yxyx",
    "abs-yxyx",
    "abs-qwen2.5-vl",
    "abs-mimo-vl",
    "abs-claude",
    "abs-claude-4.7",
)
"""Formats that a model may write numbers in; of those that fit alike, the first is named."""


def reading_hint(
    samples: Sequence[Sample], generations: Mapping[str, Generation], coords: str
) -> str:
    """Says where another coordinate format fits a model far better than the declared one.

    One format is judged for the whole model, never one per sample, by strict Acc@0.5 over the
    first 2,000 positives that were asked. There is a hint only where at least 20 of them have a
    box and another format adds 0.1 or more.

    Args:
        samples: Of the data set.
        generations: By sample id.
        coords: Name of the declared format.

    Returns:
        One line, or "".

    Raises:
        UnknownNameError: No coordinate format has that name.
    """
    asked = (s for s in samples if s.target and s.subtask_l1 != REJECTION and s.id in generations)
    positives = list(islice(asked, _HINT_POSITIVES))
    scores = score(positives, generations, protocol="strict", coords=coords)
    boxed = np.isfinite(scores.written).all(axis=1)
    if boxed.sum() < _HINT_BOXES:
        return ""
    written, targets = scores.written[boxed], _targets(positives)[boxed]
    sizes, sent = (frame[boxed] for frame in frames(positives, generations))

    def share(name: str) -> float:
        with np.errstate(all="ignore"):
            ious = geometry.iou(_pixels(coord_format(name), written, sizes, sent), targets)
        return float((ious >= 0.5).sum()) / len(scores)

    declared = share(coords)
    shares = {name: share(name) for name in _HINT_FORMATS}
    best = max(shares.values())
    if best - declared < _HINT_GAIN:
        return ""
    name = next(name for name in _HINT_FORMATS if shares[name] >= best - _HINT_TIE)
    return (
        f"read as {name} {100 * shares[name]:.1f} % of positives would be right, "
        f"as {coords} {100 * declared:.1f} %: declare it with --coords {name}"
    )
