"""Asking with workers on Ray beside the same workers as plain processes, beyond their start.

    python bench/shards.py [--workers 2] [--turns 3] [--samples 240] [--only NAME]
    python bench/shards.py --photos FOLDER --yolo MODEL.onnx         both need groundingme[ray]

Each turn is the same work once with each engine, one after the other, so that the ratio holds on a
busy machine as well. Counted is the time from the moment at which every worker has given a shard
to the last reply, and the CPU time of the workers, which a busy machine changes less. Loading
models and starting Ray are left out, and stand beside it. Ray gives its workers the niceness 15,
so that on a busy machine they wait for everything else; here they have 0, unless
RAY_worker_niceness says otherwise.

- **grounder.** `builtin/grounder` on Scenes: every CPU is busy.
- **waiting.** A model that replies after 20 ms and needs no CPU: what is left is the scheduling.
- **detect.** The stage `detect` of a build, with a YOLO on one thread, over the photos of a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from groundingme.build.records import Picture
from groundingme.build.sources import SourceOptions, list_pictures
from groundingme.datasets import load_dataset
from groundingme.models import Model, Request, load_model
from groundingme.runner import ask
from groundingme.schema import Generation, Sample
from groundingme.sharding import run_shards

SHARD = 8


class Measured(NamedTuple):
    """Samples a second, CPU milliseconds of a sample, and seconds until all workers worked."""

    rate: float
    cpu: float
    start: float


class Waiting(Model):
    name = "bench/waiting"
    needs_image = False

    async def generate(self, request: Request) -> Generation:
        await asyncio.sleep(0.02)
        return Generation(id=request.id, text='{"bbox_2d": null}')


def make(name: str) -> Callable[[list[Any]], tuple[int, float]]:
    """Asks a shard, and says in which process and with how many seconds of CPU."""
    if name.startswith("detect:"):
        return detecting(name.removeprefix("detect:"))
    model = Waiting() if name == "waiting" else load_model(name)

    def work(samples: list[Sample]) -> tuple[int, float]:
        began = time.process_time()
        found: list[Generation] = []
        asyncio.run(ask(model, samples, prompt="{description}", sink=found.append, concurrency=1))
        assert len(found) == len(samples)
        return os.getpid(), time.process_time() - began

    return work


def detecting(yolo: str) -> Callable[[list[Picture]], tuple[int, float]]:
    """The same of the stage `detect`, with shards of pictures."""
    from groundingme.build.detectors import DetectOptions, make_detect

    detect = make_detect(DetectOptions(by="yolo", options={"model": yolo, "threads": 1}), 0)

    def work(pictures: list[Picture]) -> tuple[int, float]:
        began = time.process_time()
        assert not any(one.failure for one in detect(pictures))
        return os.getpid(), time.process_time() - began

    return work


def measured(name: str, engine: str, workers: int, samples: Sequence[Any]) -> Measured:
    """Of one run; the first shards of each worker are left out."""
    shards = [samples[at : at + SHARD] for at in range(0, len(samples), SHARD)]
    seen: set[int] = set()
    began, ready, asked, cpu = time.monotonic(), 0.0, 0, 0.0
    address = "local" if engine == "ray" else None
    for shard, result in run_shards(
        functools.partial(make, name), shards, engine=engine, workers=workers, address=address
    ):
        assert not isinstance(result, Exception), result
        process, spent = result
        last = time.monotonic()
        if len(seen) == workers:
            asked, cpu = asked + len(shard), cpu + spent
        elif process not in seen:
            seen.add(process)
            ready = last
    assert asked, "the last worker came when all was done; give more samples"
    return Measured(asked / (last - ready), 1000 * cpu / asked, ready - began)


def main() -> None:
    os.environ.setdefault("RAY_worker_niceness", "0")
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--samples", type=int, default=240)
    parser.add_argument("--only", choices=("waiting", "builtin/grounder"))
    parser.add_argument("--photos")
    parser.add_argument("--yolo")
    given = parser.parse_args()
    samples: list[Any] = []
    if given.photos:
        names = [f"detect:{given.yolo}"]
        samples = list(list_pictures(SourceOptions(path=given.photos, limit=given.samples)))
    else:
        names = [given.only] if given.only else ["waiting", "builtin/grounder"]
        samples = list(load_dataset(f"scenes:n={given.samples}"))
    for name in names:
        rates, cpus = [], []
        for turn in range(given.turns):
            local = measured(name, "local", given.workers, samples)
            ray = measured(name, "ray", given.workers, samples)
            rates.append(ray.rate / local.rate)
            cpus.append(ray.cpu / local.cpu)
            for engine, found in (("local", local), ("ray", ray)):
                print(
                    f"{name} {turn + 1}, {engine}: {found.rate:.1f} samples/s, "
                    f"{found.cpu:.1f} ms of CPU each, after {found.start:.1f} s",
                    flush=True,
                )
        print(
            f"{name}, ray against local: {statistics.median(rates):.2f} of the samples a second, "
            f"{statistics.median(cpus):.2f} of the CPU (medians of {given.turns})",
            flush=True,
        )


if __name__ == "__main__":
    main()
