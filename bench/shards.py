"""Asking with workers on Ray beside the same workers as plain processes, beyond their start.

    python bench/shards.py [--workers 2] [--turns 3] [--samples 240]      needs groundingme[ray]

Each turn is the same run once with each engine, one after the other, so that the ratio holds on a
busy machine as well. Counted is the time from the moment at which each worker has given its first
shard to the last reply: loading models and starting Ray are left out, and stand beside it.

- **grounder.** `builtin/grounder` on Scenes: every CPU is busy.
- **waiting.** A model that replies after 20 ms and needs no CPU: what is left is the scheduling.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping

from groundingme.distributed import Workers
from groundingme.evaluation import evaluate
from groundingme.models import Model, Request
from groundingme.progress import Silent
from groundingme.schema import Generation, Sample

SHARD = 8


class Waiting(Model):
    name = "bench/waiting"
    needs_image = False
    coords = "abs"

    async def generate(self, request: Request) -> Generation:
        await asyncio.sleep(0.02)
        return Generation(id=request.id, text='{"bbox_2d": null}')


class Clock(Silent):
    """When each reply came."""

    def start(
        self, samples: Iterable[Sample], done: Mapping[str, Generation], coords: str = "abs"
    ) -> None:
        self.began = time.monotonic()
        self.times: list[float] = []

    def update(self, generation: Generation) -> None:
        self.times.append(time.monotonic())


def measured(model: str | Model, engine: str, workers: int, samples: int) -> tuple[float, float]:
    """Samples a second once all workers work, and seconds until then."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        evaluate(
            model, f"scenes:n={samples}", out=out, progress=clock, concurrency=1,
            workers=Workers(engine=engine, number=workers, shard_size=SHARD,
                            address="local" if engine == "ray" else None),
        )  # fmt: skip
    first = workers * SHARD - 1
    took = clock.times[-1] - clock.times[first]
    return (samples - first - 1) / took, clock.times[first] - clock.began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--samples", type=int, default=240)
    given = parser.parse_args()
    for name, model in (("waiting", Waiting()), ("grounder", "builtin/grounder")):
        ratios = []
        for turn in range(given.turns):
            local, local_start = measured(model, "local", given.workers, given.samples)
            ray, ray_start = measured(model, "ray", given.workers, given.samples)
            ratios.append(ray / local)
            print(
                f"{name} {turn + 1}: local {local:.1f} samples/s after {local_start:.1f} s, "
                f"ray {ray:.1f} after {ray_start:.1f} s: {ray / local:.2f}",
                flush=True,
            )
        print(f"{name}: ray gives {statistics.median(ratios):.2f} of what local gives (median)")


if __name__ == "__main__":
    main()
