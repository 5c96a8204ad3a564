"""What the first stages of a build cost: looking at pictures, telling duplicates, opening pictures.

    python bench/detect.py look PICTURES [--limit N]
    python bench/detect.py duplicates COUNT [--distance BITS]
    python bench/detect.py open PICTURES MODEL.onnx [--limit N] [--batch N] [--tile PIXELS]
    python bench/detect.py build PICTURES MODEL.onnx [--limit N]

`look` runs the stage `source`, `duplicates` the comparison of hashes, drawn at random, a tenth of
them near-duplicates. `open` runs the stage `detect` with a YOLO on one thread and says what share
of the detector's time went by outside of it (`overhead`), and what the decoding took of the
processor. `build` runs the stages from `source` to `publish`, with descriptions by rule, and says
what each took of the processor, in ms a picture, and all but the detector as a share of it
(`besides`), with and without the first look at the pictures. PICTURES is anything that a build
reads. Every command prints one JSON object; `peak_mb` is the most memory of the process,
`at_start_mb` what its imports took.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import groundingme.build.detectors.onnx_yolo as yolo
from groundingme.build import config as configuration
from groundingme.build import duplicates
from groundingme.build.detectors import DETECTORS, DetectOptions, Found, make_detect
from groundingme.build.pipeline import Build
from groundingme.build.records import Picture
from groundingme.build.sources import SourceOptions, list_pictures, make_look
from groundingme.build.stages import SECTIONS, STAGES

SHARD = 100
"""Pictures that a stage is given at a time."""


def peak() -> float:
    """Most memory that this process took, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        return time.process_time() - self._cpu


class Timed:
    """A detector whose time is counted."""

    def __init__(self, **options: Any) -> None:
        self._inner = yolo.Yolo(**options)
        self.needs_image, self.same_size = self._inner.needs_image, self._inner.same_size
        self.wall = self.own_cpu = 0.0

    def detect(self, pictures: Sequence[Picture], images: Sequence[Any]) -> list[Found | Exception]:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return self._inner.detect(pictures, images)
        finally:
            self.wall += time.perf_counter() - wall
            self.own_cpu += time.thread_time() - cpu


def look(path: str, limit: int | None) -> dict[str, Any]:
    options = SourceOptions(path=path, limit=limit)
    work, start, clock = make_look(options, 0), peak(), Clock()
    done: list[Picture] = []
    pictures = list_pictures(options)
    while some := list(itertools.islice(pictures, SHARD)):
        done += work(some)
    return {
        "pictures": len(done),
        "failed": sum(bool(one.failure) for one in done),
        "megapixels": round(sum(one.width * one.height for one in done) / 1e6, 1),
        "cpu_ms_each": round(1000 * clock.cpu / len(done), 2),
        "pictures_per_cpu_second": round(len(done) / clock.cpu, 1),
        "pictures_per_second": round(len(done) / clock.wall, 1),
        "at_start_mb": round(start),
        "peak_mb": round(peak()),
    }


def compare(count: int, distance: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    some = count // 10
    flipped = np.uint64(1) << rng.integers(0, 64, some, np.uint64)
    hashes[-some:] = hashes[:some] ^ flipped
    start, clock = peak(), Clock()
    found = duplicates.duplicates(hashes, distance)
    return {
        "hashes": count,
        "distance": distance,
        "duplicates": int((found >= 0).sum()),
        "cpu_seconds": round(clock.cpu, 2),
        "at_start_mb": round(start),
        "peak_mb": round(peak()),
    }


def timed(made: list[Timed]) -> None:
    """Registers the detector `timed`; those that are made are added to the list."""

    def make(*, model: str, threads: int) -> Timed:
        made.append(Timed(model=model, threads=threads))
        return made[-1]

    DETECTORS.names()
    DETECTORS.register("timed", make)


def building(path: str, model: str, limit: int | None) -> dict[str, Any]:
    made: list[Timed] = []
    timed(made)
    told = [f"source.path={path}", "tag.by=fixed", "tag.vocabulary=coco", "detect.by=timed",
            f"detect.model={model}", "detect.threads=1", "select.per_subtask=20",
            "filter.min_instances=1", "sort.min_instances=1", "describe.by=rules",
            "negatives.by=rules", "verify.models=[]", "publish.layouts=[]"]  # fmt: skip

    def run(limit: int | None) -> tuple[int, dict[str, float]]:
        more = [f"source.limit={limit}"] if limit else []
        spent: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as work:
            config = configuration.load(None, SECTIONS, told + more)
            build = Build(config, work, STAGES, list_pictures)
            for name in build.places:
                clock = Clock()
                build.run(to=name)
                spent[name] = clock.cpu
            return build.tally("list").records, spent

    run(20)  # so that no import is counted
    count, spent = run(limit)
    own = made[-1].own_cpu
    besides = sum(spent.values()) - own
    return {
        "pictures": count,
        "detector_ms": round(1000 * own / count, 1),
        "besides": round(besides / own, 4),
        "besides_without_look": round((besides - spent["source"]) / own, 4),
        "stages_ms": {
            name: round(1000 * (took - own * (name == "detect")) / count, 2)
            for name, took in spent.items()
        },
    }


def opening(path: str, model: str, limit: int | None, batch: int, tile: int) -> dict[str, Any]:
    source = SourceOptions(path=path, limit=limit)
    pictures = make_look(source, 0)(list(list_pictures(source)))
    made: list[Timed] = []
    timed(made)
    options = {"model": model, "threads": 1}
    work = make_detect(DetectOptions(by="timed", batch=batch, tile=tile, options=options), 0)
    work(pictures[:1])
    detector, start = made[0], peak()
    detector.wall = detector.own_cpu = 0.0
    clock = Clock()
    for at in range(0, len(pictures), SHARD):
        work(pictures[at : at + SHARD])
    return {
        "pictures": len(pictures),
        "failed": sum(bool(one.failure) for one in pictures),
        "boxes": sum(len(one.found) for one in pictures),
        "pictures_per_second": round(len(pictures) / clock.wall, 2),
        "detector_ms_each": round(1000 * detector.wall / len(pictures), 1),
        "overhead": round(clock.wall / detector.wall - 1, 4),
        "cpu_besides_detector": round(clock.cpu / detector.own_cpu - 1, 4),
        "at_start_mb": round(start),
        "peak_mb": round(peak()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("look", "duplicates", "open", "build"))
    parser.add_argument("first", help="PICTURES, or COUNT")
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tile", type=int, default=0)
    parser.add_argument("--distance", type=int, default=4)
    given = parser.parse_args()
    if given.what == "look":
        told = look(given.first, given.limit)
    elif given.what == "duplicates":
        told = compare(int(given.first), given.distance)
    elif given.what == "build":
        told = building(given.first, given.model, given.limit)
    else:
        told = opening(given.first, given.model, given.limit, given.batch, given.tile)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
