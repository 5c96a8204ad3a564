"""Images a second on one core through suppression, filters and candidates.

    python bench/build.py [--boxes 100] [--seconds 1.0]

Synthetic images: things of a log-normal size, each found 2.5 times on average, partly under another
class (40 classes in the vocabulary, 8 in an image). Processor time, the best of five rounds of
`--seconds`, so that a busy machine disturbs less. Prints one line a policy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from groundingme.build.candidates import candidates
from groundingme.build.filters import filter_boxes
from groundingme.build.suppress import POLICIES, suppress

SIZE = (2250, 1500)
ROUNDS = 5

Detections = tuple[np.ndarray, np.ndarray, np.ndarray]


def detections(count: int, rng: np.random.Generator) -> Detections:
    """Boxes, labels and scores of one image."""
    things = max(1, round(count / 2.5))
    side = np.exp(rng.normal(4.8, 0.7, (things, 1))) * np.exp(rng.normal(0, 0.3, (things, 2)))
    middle = rng.uniform(0, SIZE, (things, 2))
    names = rng.choice(40, 8, replace=False)
    true = rng.choice(names, things)
    of = rng.integers(0, things, count)
    jitter = rng.normal(0, 0.04, (count, 4)) * np.tile(side[of], 2)
    boxes = np.concatenate([middle[of] - side[of] / 2, middle[of] + side[of] / 2], axis=1) + jitter
    labels = np.where(rng.random(count) < 0.75, true[of], rng.choice(names, count))
    return np.clip(boxes, 0, np.tile(SIZE, 2)), labels, rng.random(count)


def per_second(
    work: Callable[[Detections], object], images: list[Detections], wait: float
) -> float:
    """Images a second of processor time, the best round."""
    rates = []
    for _ in range(ROUNDS):
        done, began = 0, time.process_time()
        while (spent := time.process_time() - began) < wait:
            for image in images:
                work(image)
            done += len(images)
        rates.append(done / spent)
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boxes", type=int, default=100, help="in each image (default 100)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round (default 1)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [detections(args.boxes, rng) for _ in range(50)]
    print(f"{args.boxes} boxes an image, images a second on one core")
    print(f"{'policy':<12} {'kept':>6} {'suppress':>9} {'+ filter':>9} {'+ candidates':>13}")
    for policy in POLICIES:
        kept = np.mean([suppress(*image, policy=policy).keep.sum() for image in images])

        def first(image: Detections, policy: str = policy) -> Detections:
            boxes, labels, scores = image
            keep = suppress(boxes, labels, scores, policy=policy).keep
            return boxes[keep], labels[keep], scores[keep]

        def second(image: Detections) -> tuple[Detections, np.ndarray]:
            found = first(image)
            return found, filter_boxes(found[0], found[1], SIZE).keep

        def third(image: Detections) -> np.ndarray:
            found, keep = second(image)
            return candidates(found[0], found[1], SIZE, eligible=keep)

        rates = [per_second(work, images, args.seconds) for work in (first, second, third)]
        print(f"{policy:<12} {kept:>6.1f} {rates[0]:>9,.0f} {rates[1]:>9,.0f} {rates[2]:>13,.0f}")


if __name__ == "__main__":
    main()
