"""Rewards of reinforcement: the strict scorer's own figures, and what pays where."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from groundingme import metrics
from groundingme.errors import UnknownNameError, UsageError
from groundingme.train.tuning import rewards
from groundingme.train.tuning.options import TuneOptions, load_options
from groundingme.train.tuning.rewards import Weights

SIZE = (200, 100)
TARGET = (20.0, 10.0, 120.0, 60.0)
RIGHT, NULL = '{"bbox_2d": [100, 100, 600, 600]}', '{"bbox_2d": null}'
HALF, FAR = '{"bbox_2d": [100, 100, 350, 600]}', '{"bbox_2d": [700, 700, 900, 900]}'
UNREADABLE = "I see a square, I think."


def paid(reply: str, box: Any, weights: Weights | None = None) -> tuple[float, ...]:
    found = rewards.rewards([reply], [box], [SIZE], "n1000", weights)
    return tuple(getattr(found, name)[0] for name in ("box", "rejection", "format", "total"))


@pytest.mark.parametrize(
    ("reply", "box", "expected"),
    [
        (RIGHT, TARGET, (1.0, np.nan, 1.0, 1.1)),
        (HALF, TARGET, (0.5, np.nan, 1.0, 0.6)),
        (FAR, TARGET, (0.0, np.nan, 1.0, 0.1)),
        (NULL, TARGET, (0.0, np.nan, 0.0, 0.0)),
        (UNREADABLE, TARGET, (0.0, np.nan, 0.0, 0.0)),
        (NULL, None, (np.nan, 1.0, 1.0, 1.1)),
        (RIGHT, None, (np.nan, 0.0, 1.0, 0.1)),
        (UNREADABLE, None, (np.nan, 0.0, 0.0, 0.0)),
        ("", None, (np.nan, 0.0, 0.0, 0.0)),
    ],
)
def test_what_each_reply_is_paid(reply: str, box: Any, expected: tuple[float, ...]) -> None:
    assert paid(reply, box) == pytest.approx(expected, nan_ok=True)


def test_weights_and_a_threshold() -> None:
    weights = Weights(box=2.0, rejection=0.5, format=0.0, threshold=0.5)
    assert paid(HALF, TARGET, weights)[3] == 2.0
    assert paid('{"bbox_2d": [100, 100, 340, 600]}', TARGET, weights)[3] == 0.0
    assert paid(NULL, None, weights)[3] == 0.5


def drawn(count: int) -> tuple[list[str], list[Any], list[tuple[int, int]]]:
    """Replies of all kinds about targets of all kinds, pictures of many sizes."""
    rng = random.Random(3)
    replies, boxes, sizes = [], [], []
    for _ in range(count):
        width, height = rng.randrange(50, 900), rng.randrange(50, 900)
        x, y = rng.uniform(0, width - 20), rng.uniform(0, height - 20)
        box = (x, y, rng.uniform(x + 5, width), rng.uniform(y + 5, height))
        scaled = [1000 * box[n] / (width, height)[n % 2] for n in range(4)]
        near = [round(one + rng.gauss(0, 40)) for one in scaled]
        replies.append(
            rng.choice(
                [f'{{"bbox_2d": {near}}}', f"```json\n{near}\n```", NULL, UNREADABLE, "", "[1, 2"]
            )
        )
        boxes.append(box if rng.random() < 0.6 else None)
        sizes.append((width, height))
    return replies, boxes, sizes


def test_the_accuracy_that_is_paid_is_strict_accuracy() -> None:
    replies, boxes, sizes = drawn(400)
    found = rewards.rewards(
        replies, boxes, sizes, "n1000", Weights(format=0.0, rejection=1.0, threshold=0.5)
    )
    scores = rewards.strict(replies, boxes, sizes, "n1000")
    assert found.total.mean() == metrics.accuracy(scores.ious, threshold=0.5)
    assert 0.1 < found.total.mean() < 0.9
    whole = rewards.rewards(replies, boxes, sizes, "n1000", Weights(format=0.0))
    assert whole.total.mean() == pytest.approx(metrics.mean_iou(scores.ious))
    parts = np.where(np.isnan(found.box), found.rejection, found.box)
    assert (parts == found.total).all()


@pytest.mark.parametrize("negatives", [1, 3, 5, 8])
def test_what_always_saying_the_same_earns(negatives: int) -> None:
    boxes: list[Any] = [TARGET] * (9 - negatives) + [None] * negatives
    share, weights = negatives / 9, Weights(box=1.0, rejection=0.7, format=0.2)

    def mean(replies: list[str], weights: Weights = weights) -> float:
        return float(
            rewards.rewards(replies, boxes, [SIZE] * 9, "n1000", weights).total.mean()
        )  # fmt: skip

    rejecting, boxing = mean([NULL] * 9), mean([HALF] * 9)
    assert rejecting == pytest.approx(rewards.always_rejecting(share, weights))
    assert boxing == pytest.approx(rewards.always_a_box(share, weights, 0.5))
    assert mean([RIGHT] * (9 - negatives) + [NULL] * negatives) > max(rejecting, boxing)
    fair = rewards.balanced(share, weights)
    assert mean([NULL] * 9, fair) <= mean([HALF] * 9, fair) + 1e-12
    assert mean([NULL] * 9, fair) < mean([RIGHT] * 9, fair)
    assert (fair.box, fair.format) == (1.0, 0.2)
    assert 0 < fair.rejection <= fair.box


def test_rejections_are_paid_like_boxes_where_they_are_rare() -> None:
    assert rewards.balanced(0.0, Weights()).rejection == 1.0
    assert rewards.balanced(1 / 3, Weights()).rejection == 1.0
    assert rewards.balanced(1 / 2, Weights()).rejection == pytest.approx(0.6)
    assert rewards.balanced(2 / 3, Weights()).rejection == pytest.approx(0.3)
    # With as much for each, a model that rejects everything would earn more than one that finds.
    equal = Weights(rejection=1.0)
    assert rewards.always_rejecting(2 / 3, equal) > rewards.always_a_box(2 / 3, equal, 1.0)


def test_mistakes() -> None:
    with pytest.raises(UnknownNameError, match="n1000"):
        rewards.rewards([NULL], [None], [SIZE], "n1001")
    with pytest.raises(ValueError, match="zip"):
        rewards.rewards([NULL, NULL], [None], [SIZE], "n1000")
    with pytest.raises(UsageError, match="--kl with --method grpo, got it with sft"):
        load_options(None, {"kl": 0.1})
    with pytest.raises(UsageError, match="generations: expected a whole number at least 2"):
        load_options(None, {"method": "grpo", "generations": 1})


def test_a_pass_is_as_many_replies_as_are_compared() -> None:
    assert TuneOptions(generations=8, method="grpo").replies == 8
    assert TuneOptions().replies == 1
    assert TuneOptions(method="grpo").learning_rate == pytest.approx(1e-5)
    assert TuneOptions(method="grpo", rate=2e-3).learning_rate == 2e-3
