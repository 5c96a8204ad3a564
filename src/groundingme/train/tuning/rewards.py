"""What a reply is worth in reinforcement: the strict protocol's own scores, weighted.

The function that scores a run is the reward, so a model cannot be paid for anything that an
evaluation would not count:

    target    a box                 `box` x IoU (or 1 from a threshold on) + `format`
              a rejection           0
    none      a rejection           `rejection` + `format`
              a box                 `format`
    either    nothing readable      0

A rejection is never paid for its form. It is always the same few letters, so a model that writes
no boxes yet would find that pay first, and learn to say null to everything. Of a mixture with a
share `q` of negatives, and weights b, r and f, a question is worth

    q (r + f)           to a model that always rejects
    (1 - q) b m + f     to one that always gives a box, of mean IoU m where there is a target
    (1 - q) b + q r + f to one that is always right, which is the most there is

Always rejecting is thus worth less than being right with any weights, but it can be worth more
than always giving a box, and a model that cannot tell yet which is which goes where the pay is.
`balanced` therefore keeps the weight of rejections so low that always giving a box is worth as
much, already at a mean IoU of one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import protocols
from groundingme.protocols import REJECTED, UNPARSED, Scores
from groundingme.schema import Box, Generation, Sample

FINDS = 0.5
"""Mean IoU at which always giving a box is worth no less than always rejecting: see `balanced`."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of a reward count.

    Attributes:
        box: Of a positive's IoU.
        rejection: Of a negative's right rejection.
        format: Of a box that can be read, or a right rejection.
        threshold: IoU from which on a box is worth 1, and 0 below; 0 for the IoU itself.
    """

    box: float = 1.0
    rejection: float = 1.0
    format: float = 0.1
    threshold: float = 0.0


class Rewards(msgspec.Struct, frozen=True, kw_only=True):
    """Rewards of N replies, each part before it is weighted.

    Attributes:
        box: Shape `(N,)`, in [0, 1]; NaN where nothing matches.
        rejection: Shape `(N,)`, 0 or 1; NaN where there is a target.
        format: Shape `(N,)`, 0 or 1.
        total: Shape `(N,)`: the weighted sum, at least 0.
    """

    box: NDArray[np.float64]
    rejection: NDArray[np.float64]
    format: NDArray[np.float64]
    total: NDArray[np.float64]


def strict(
    replies: Sequence[str],
    boxes: Sequence[Box | None],
    sizes: Sequence[tuple[int, int]],
    coords: str,
) -> Scores:
    """Scores of replies under the strict protocol, in their order.

    Args:
        replies: N of them, as the model wrote them.
        boxes: Target of each, xyxy pixels of the original; None where nothing matches.
        sizes: Width and height in pixels of each original.
        coords: Name of the coordinate format of the numbers in the replies.

    Raises:
        UnknownNameError: No coordinate format has that name.
        ValueError: The lengths differ.
    """
    asked = zip(boxes, sizes, strict=True)
    samples = [
        Sample(id=str(n), description="", target=box, width=width, height=height)
        for n, (box, (width, height)) in enumerate(asked)
    ]
    told = zip(samples, replies, strict=True)
    generations = {sample.id: Generation(id=sample.id, text=text) for sample, text in told}
    return protocols.score(samples, generations, protocol="strict", coords=coords)


def rewards(
    replies: Sequence[str],
    boxes: Sequence[Box | None],
    sizes: Sequence[tuple[int, int]],
    coords: str,
    weights: Weights | None = None,
) -> Rewards:
    """What replies are worth; the arguments are those of `strict`.

    Raises:
        UnknownNameError: No coordinate format has that name.
        ValueError: The lengths differ.
    """
    weights = weights or Weights()
    scores = strict(replies, boxes, sizes, coords)
    rejected = scores.outcome == REJECTED
    found = scores.ious >= weights.threshold if weights.threshold else scores.ious
    box = np.where(scores.negatives, np.nan, found)
    rejection = np.where(scores.negatives, rejected, np.nan)
    false = rejected & ~scores.negatives
    form = np.where(false | (scores.outcome == UNPARSED), 0.0, 1.0)
    total = (
        weights.box * np.nan_to_num(box)
        + weights.rejection * np.nan_to_num(rejection)
        + weights.format * form
    )
    return Rewards(box=box, rejection=rejection, format=form, total=total)


def always_rejecting(share: float, weights: Weights) -> float:
    """What a question is worth to a model that rejects everything.

    Args:
        share: Of the negatives among the questions, in [0, 1].
        weights: Of the parts.
    """
    return share * (weights.rejection + weights.format)


def always_a_box(share: float, weights: Weights, found: float = FINDS) -> float:
    """What a question is worth to a model that never rejects.

    Args:
        share: Of the negatives among the questions, in [0, 1].
        weights: Of the parts.
        found: Mean of its `Rewards.box` where there is a target.
    """
    return (1 - share) * weights.box * found + weights.format


def balanced(share: float, weights: Weights) -> Weights:
    """The same weights with one for rejections that does not lead to rejecting everything.

    It is that of a box, or less: the largest with which always rejecting is worth no more than
    always giving a box, at `FINDS`.

    Args:
        share: Of the negatives among the questions, in [0, 1].
        weights: Of the parts; that of rejections is not looked at.
    """
    most = weights.box
    if share > 0:
        most = min(most, always_a_box(share, weights) / share - weights.format)
    return msgspec.structs.replace(weights, rejection=most)
