"""How long the built-in grounder takes for a picture, on one thread.

    python bench/grounder.py [SAMPLES] [WIDTHxHEIGHT]

Draws samples of the default Scenes that are no larger than 1024 pixels (all but Small), or of one
size, as JPEG and as PNG, and measures processor time a picture: decoding, looking and reading
(once a picture), and matching (once a description). A second question on the same picture costs
the matching alone.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from groundingme import images
from groundingme.datasets.scenes.casting import Knobs
from groundingme.datasets.scenes.generator import compose
from groundingme.datasets.scenes.render import draw
from groundingme.models.builtin.nets import shipped
from groundingme.taxonomy import SUBTASKS


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What `act` gives, and the processor time it took in ms."""
    began = time.process_time()
    result = act()
    return result, (time.process_time() - began) * 1e3


def main() -> None:
    """Prints medians and 95 % points."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    size = sys.argv[2].split("x") if len(sys.argv) > 2 else None
    knobs = Knobs(width=int(size[0]), height=int(size[1])) if size else Knobs()
    rows = [row for row in SUBTASKS if row.l2 != "Small"]
    nets = shipped()
    spent: dict[str, list[float]] = {}
    things = []
    for number in range(-5, count):
        row = rows[number % len(rows)]
        scene, question = compose(row.l1, row.l2, random.Random(f"bench:{number}"), knobs)
        picture = draw(scene)
        for format in ("JPEG", "PNG"):
            file = io.BytesIO()
            picture.save(file, format, quality=90)
            decoded, decoding = timed(lambda file=file: images.open_upright(file.getvalue()))
            if number >= 0:
                spent.setdefault(f"decode {format}", []).append(decoding)
        seen, seeing = timed(lambda decoded=decoded: nets.see(decoded))
        _, matching = timed(lambda: nets.match("match", seen, question.description))  # noqa: B023
        if number < 0:
            # The first calls load the nets.
            continue
        things.append(len(seen.boxes))
        spent.setdefault("look and read", []).append(seeing)
        spent.setdefault("match", []).append(matching)
        spent.setdefault("all but decoding", []).append(seeing + matching)
    print(f"{count} pictures, {statistics.mean(things):.1f} things each; ms of one core")
    for name, values in spent.items():
        high = statistics.quantiles(values, n=20)[-1]
        print(f"{name:18} median {statistics.median(values):6.1f}   95 % {high:6.1f}")


if __name__ == "__main__":
    main()
