"""How fast scenes are made, on one core: composed, drawn, and written as JPEG.

    python bench/scenes.py [--n 300] [--size 512]

Seconds of processor time, so that a busy machine disturbs less. Tiny things in large pictures (the
subtask Small) are counted apart.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import time

from groundingme.datasets import load_dataset
from groundingme.datasets.scenes.presets import SceneImage
from groundingme.datasets.scenes.render import draw, encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    args = parser.parse_args()
    began = time.process_time()
    data = load_dataset(f"scenes:seed=9,n={args.n},width={args.size},height={args.size}")
    rows = 1e3 * (time.process_time() - began) / len(data)
    print(f"rows (descriptions and boxes): {rows:.1f} ms each")
    for name, wanted in ((f"{args.size} px", False), ("Small, 1920 px", True)):
        steps: list[tuple[float, ...]] = []
        for sample in data:
            image = sample.image
            if not isinstance(image, SceneImage) or (sample.subtask_l2 == "Small") is not wanted:
                continue
            marks = [time.process_time()]
            scene, _ = image.compose()
            marks.append(time.process_time())
            picture = draw(scene)
            marks.append(time.process_time())
            file = io.BytesIO(encode(picture))
            marks.append(time.process_time())
            assert file.getbuffer().nbytes
            steps.append(tuple(b - a for a, b in itertools.pairwise(marks)))
        means = [1e3 * statistics.mean(step) for step in zip(*steps, strict=True)]
        words = ", ".join(
            f"{word} {ms:.1f} ms"
            for word, ms in zip(("compose", "draw", "JPEG"), means, strict=True)
        )
        print(f"{name}: {1e3 / sum(means):.0f} samples a second ({words}) over {len(steps)}")


if __name__ == "__main__":
    main()
