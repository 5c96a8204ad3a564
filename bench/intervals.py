"""Time of the clustered bootstrap, in CPU seconds.

    python bench/intervals.py [SAMPLES]

Prints one JSON object for SAMPLES (default 1005) on two thirds as many images and 10,000 resamples:
`figures_s` is one run's accuracies on everything, 4 categories and 12 subtasks and its measures of
rejection; `runs_s` the same of ten runs at once; `mean_iou_s` a figure whose values are no zeros
and ones; `auroc_s` one that is no quotient of sums.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from groundingme import rejection, selective, stats, taxonomy


def measure(*, samples: int, images: int, resamples: int, runs: int) -> dict[str, float]:
    """CPU seconds of each figure."""
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, images, size=samples)
    sizes = np.array([one.samples for one in taxonomy.SUBTASKS])
    subtask = rng.choice(len(sizes), size=samples, p=sizes / sizes.sum())
    l1 = np.array([taxonomy.L1.index(one.l1) for one in taxonomy.SUBTASKS])[subtask]
    negatives = l1 == taxonomy.L1.index(taxonomy.REJECTION)
    groups = [np.ones(samples, dtype=bool), *(l1 == at for at in range(4))]
    groups += [subtask == at for at in range(len(sizes))]

    def columns() -> list[Any]:
        right, said = rng.random(samples) < 0.4, rng.random(samples) < 0.2
        found = [np.where(group, right, False) for group in groups]
        return [*found, *groups, *rejection.indicators(negatives, said, right).T]

    def timed(work: Callable[[], Any]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    def figures(count: int) -> None:
        table = np.stack([one for _ in range(count) for one in columns()], axis=1)
        drawn = stats.resampled_sums(table, clusters, resamples=resamples)
        stats.percentiles(drawn)

    ious, sure = rng.random(samples), rng.random(samples)

    def auroc() -> None:
        parts = stats.resampled_weights(clusters, resamples=resamples)
        stats.percentiles(np.concatenate([selective.auroc(sure, negatives, w) for w in parts]))

    return {
        "figures_s": timed(lambda: figures(1)),
        "runs_s": timed(lambda: figures(runs)),
        "mean_iou_s": timed(
            lambda: stats.percentiles(stats.resampled_sums(ious, clusters, resamples=resamples))
        ),
        "auroc_s": timed(auroc),
    }


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 1005
    found = measure(samples=samples, images=2 * samples // 3, resamples=10_000, runs=10)
    rounded = {name: round(spent, 3) for name, spent in found.items()}
    print(json.dumps({"samples": samples, "resamples": 10_000, **rounded}))


if __name__ == "__main__":
    main()
