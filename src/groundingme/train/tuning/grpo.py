"""Reinforcement through trl's GRPOTrainer: replies to one question are compared with each other.

Each is paid by the metric that evaluates a run (`rewards`), and what it got above the mean of its
question decides how its words are changed. Advantages are not divided by the deviation within a
question: that would take the weights of positives against negatives out again, and make much of
small differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from groundingme.errors import UsageError
from groundingme.train.tuning import base as bases
from groundingme.train.tuning import rewards
from groundingme.train.tuning import rows as mixture_rows
from groundingme.train.tuning.job import Job, adapter, arguments
from groundingme.train.tuning.options import TuneOptions
from groundingme.train.tuning.rewards import Weights
from groundingme.train.tuning.rows import Row
from groundingme.train.tuning.watching import LONGEST_ANSWER

PARTS = ("box", "rejection", "format")
"""Of a reward; trl logs the mean of each by name."""


def share_of_negatives(rows: Sequence[Row]) -> float:
    """How many of the rows have no target, in [0, 1]."""
    return sum(row.box is None for row in rows) / len(rows)


def weights_of(options: TuneOptions, rows: Sequence[Row]) -> Weights:
    """What is paid for, with the default of `rejection_weight` filled in for these rows."""
    weights = Weights(
        box=options.box_weight, format=options.format_weight, threshold=options.iou_threshold
    )
    if options.rejection_weight is None:
        return rewards.balanced(share_of_negatives(rows), weights)
    return Weights(
        box=options.box_weight,
        rejection=options.rejection_weight,
        format=options.format_weight,
        threshold=options.iou_threshold,
    )


def told(options: TuneOptions, rows: Sequence[Row]) -> dict[str, float]:
    """What is paid, and what that is worth to models that always say the same."""
    weights, share = weights_of(options, rows), share_of_negatives(rows)
    found = {
        "box": weights.box,
        "rejection": weights.rejection,
        "format": weights.format,
        "always rejecting": rewards.always_rejecting(share, weights),
        f"always a box of IoU {rewards.FINDS}": rewards.always_a_box(share, weights),
    }
    return {name: round(value, 3) for name, value in found.items()}


def check(rows: Sequence[Row], options: TuneOptions, processes: int) -> None:
    """Whether replies can be compared as they are to be.

    Args:
        rows: To be trained on.
        options: How.
        processes: Devices that train together.

    Raises:
        UsageError: A step would not hold all replies to a question, there are too few questions
            for a step, or nothing but rejections to learn.
    """
    asked = f"{options.batch} x {options.accumulate} x {processes}"
    replies = options.batch * options.accumulate * processes
    questions = replies // options.generations
    if replies % options.generations:
        raise UsageError(
            f"expected --batch x --accumulate x devices as a multiple of --generations "
            f"{options.generations}, got {asked} = {replies}; change one of them"
        )
    if questions > len(rows):
        raise UsageError(
            f"expected {questions} rows or more for the {replies} replies of a step, got "
            f"{len(rows)}; give a smaller --batch or --accumulate, or more --generations"
        )
    if share_of_negatives(rows) == 1:
        raise UsageError(
            "expected positives among the rows with --method grpo, got rejections alone, which "
            "teach to reject everything; mix some in"
        )


def make_trainer(job: Job) -> Any:
    """A trainer that is ready to train.

    Args:
        job: What is trained on what, and how.
    """
    from trl import GRPOConfig, GRPOTrainer

    options, weights = job.options, weights_of(job.options, job.rows)
    config = GRPOConfig(
        **arguments(job),
        num_generations=options.generations,
        temperature=options.temperature,
        beta=options.kl,
        max_completion_length=LONGEST_ANSWER,
        scale_rewards="none",
        reward_weights=[getattr(weights, part) for part in PARTS],
    )
    return GRPOTrainer(
        model=bases.load_model(job.base, options, bf16=job.bf16),
        reward_funcs=[paid(part, weights, job.coords) for part in PARTS],
        args=config,
        train_dataset=mixture_rows.dataset(job.rows, columns),
        processing_class=job.base.processor,
        peft_config=adapter(job),
        callbacks=[job.watcher],
    )


def columns(row: Row) -> dict[str, Any]:
    """A question as trl takes it, with what its reward is computed from."""
    return {
        "images": [row.image],
        "prompt": row.turns()["prompt"],
        "box": row.box,
        "size": [row.width, row.height],
    }


def paid(part: str, weights: Weights, coords: str) -> Callable[..., list[float | None]]:
    """One part of the reward as a function for trl, which weights it.

    Args:
        part: One of `PARTS`; the function is called so.
        weights: Of the run.
        coords: Of the numbers in the answers.

    Returns:
        A function of the replies, each a list of turns, and the columns `box` and `size`; it gives
        None for what the part says nothing about.
    """

    def reward(
        completions: list[Any], box: list[Any], size: list[Any], **more: Any
    ) -> list[float | None]:
        replies = [turns[-1]["content"] for turns in completions]
        found = rewards.rewards(replies, box, size, coords, weights)
        return [None if math.isnan(one) else one for one in getattr(found, part).tolist()]

    reward.__name__ = part
    return reward
