"""Asking with workers on Ray beside the same workers as plain processes, beyond their start.

    python bench/shards.py [--workers 2] [--turns 3] [--samples 240]      needs groundingme[ray]

Each turn is the same work once with each engine, one after the other, so that the ratio holds on a
busy machine as well. Counted is the time from the moment at which every worker has given a shard
to the last reply: loading models and starting Ray are left out, and stand beside it.

- **grounder.** `builtin/grounder` on Scenes: every CPU is busy.
- **waiting.** A model that replies after 20 ms and needs no CPU: what is left is the scheduling.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import statistics
import time
from collections.abc import Callable

from groundingme.datasets import load_dataset
from groundingme.models import Model, Request, load_model
from groundingme.runner import ask
from groundingme.schema import Generation, Sample
from groundingme.sharding import run_shards

SHARD = 8


class Waiting(Model):
    name = "bench/waiting"
    needs_image = False

    async def generate(self, request: Request) -> Generation:
        await asyncio.sleep(0.02)
        return Generation(id=request.id, text='{"bbox_2d": null}')


def make(name: str) -> Callable[[list[Sample]], tuple[int, list[Generation]]]:
    """Asks a shard, and says in which process."""
    model = Waiting() if name == "waiting" else load_model(name)

    def work(samples: list[Sample]) -> tuple[int, list[Generation]]:
        found: list[Generation] = []
        asyncio.run(ask(model, samples, prompt="{description}", sink=found.append, concurrency=1))
        return os.getpid(), found

    return work


def measured(name: str, engine: str, workers: int, samples: list[Sample]) -> tuple[float, float]:
    """Samples a second once all workers work, and seconds until then."""
    shards = [samples[at : at + SHARD] for at in range(0, len(samples), SHARD)]
    seen: set[int] = set()
    began, ready, asked = time.monotonic(), 0.0, 0
    address = "local" if engine == "ray" else None
    for _, result in run_shards(
        functools.partial(make, name), shards, engine=engine, workers=workers, address=address
    ):
        assert not isinstance(result, Exception), result
        process, replies = result
        last = time.monotonic()
        if len(seen) == workers:
            asked += len(replies)
        elif process not in seen:
            seen.add(process)
            ready = last
    assert asked, "the last worker came when all was done; give more samples"
    return asked / (last - ready), ready - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--samples", type=int, default=240)
    given = parser.parse_args()
    samples = list(load_dataset(f"scenes:n={given.samples}"))
    for name in ("waiting", "builtin/grounder"):
        ratios = []
        for turn in range(given.turns):
            local, local_start = measured(name, "local", given.workers, samples)
            ray, ray_start = measured(name, "ray", given.workers, samples)
            ratios.append(ray / local)
            print(
                f"{name} {turn + 1}: local {local:.1f} samples/s after {local_start:.1f} s, "
                f"ray {ray:.1f} after {ray_start:.1f} s: {ray / local:.2f}",
                flush=True,
            )
        print(f"{name}: ray gives {statistics.median(ratios):.2f} of what local gives (median)")


if __name__ == "__main__":
    main()
