"""The whole of a sweep: train, ask, reduce, write; every part goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import JobError, UsageError
from groundingme.evaluation import evaluate
from groundingme.interrupting import Interrupted, Interruptible
from groundingme.progress import duration
from groundingme.result import Result
from groundingme.sharding import run_shards
from groundingme.store import write_atomically
from groundingme.terminal import say
from groundingme.train.mixing import Ratio
from groundingme.train.sweep import advice, reduction, tables
from groundingme.train.sweep.plan import (
    Domain,
    Exam,
    Job,
    Learner,
    name_of,
)

Tell = Callable[[str], None]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep ended with.

    Attributes:
        reduced: All figures.
        advice: Which ratio to take.
        finding: In sentences.
        out: Folder of everything.
    """

    reduced: reduction.Reduced
    advice: advice.Advice
    finding: list[str]
    out: Path


def run(
    learner: Learner,
    ratios: Sequence[Ratio],
    seeds: Sequence[int],
    out: Path,
    *,
    workers: int = 1,
    max_loss: float = 2.0,
    tell: Tell = lambda line: say(line, err=True),
) -> Sweep:
    """Trains what is not trained yet, asks what is not asked yet, and writes the figures.

    Args:
        learner: Who is trained.
        ratios: Of the mixtures.
        seeds: Each gives an untouched model and one of every ratio.
        out: Folder of everything; the same call goes on there.
        workers: Processes that train, where the learner allows several.
        max_loss: Points that positives may lose; see `advice.advise`.
        tell: Takes lines of progress.

    Raises:
        UsageError: It cannot begin, or `out` holds a sweep with other settings.
        JobError: A model could not be trained, or too many samples have no reply.
        Interrupted: Stopped while models were asked; what was done is kept.
    """
    learner.check(ratios)
    claim(learner, out)
    for number, group in enumerate(learner.jobs(ratios, seeds)):
        _work(learner, group, workers, tell, long=bool(number))
    results = ask(learner, ratios, seeds, out, tell)
    columns = [name_of(one) for one in (None, *ratios)]
    reduced = reduction.reduce(columns, seeds, results)
    found = Sweep(
        reduced=reduced,
        advice=advice.advise(reduced, max_loss),
        finding=advice.finding(reduced),
        out=out,
    )
    write(found, learner)
    return found


def claim(learner: Learner, out: Path) -> None:
    """Keeps two sweeps from being mixed in one folder.

    Raises:
        UsageError: There is another one, or the folder cannot be written.
    """
    mine = msgspec.json.format(msgspec.json.encode(learner.about()))
    path = out / "plan.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_bytes() != mine:
                raise UsageError(
                    f"expected a sweep with the same settings in {out}, got another one; name "
                    "another folder with -o"
                )
            return
        if any(out.iterdir()):
            raise UsageError(f"expected an empty folder, got files in {out}; name another with -o")
        write_atomically(path, mine)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {out} ({error.strerror}); name another "
            "with -o"
        ) from None


def steps(
    learner: Learner, ratios: Sequence[Ratio], seeds: Sequence[int]
) -> Iterator[tuple[Job, bool]]:
    """Every job, and whether it is done."""
    for group in learner.jobs(ratios, seeds):
        for job in group:
            yield job, learner.done(job)


# ---- training


def _worker(learner: Learner) -> Callable[[Job], float]:
    def do(job: Job) -> float:
        began = time.process_time()
        learner.do(job)
        return time.process_time() - began

    return do


def _work(learner: Learner, group: Iterable[Job], workers: int, tell: Tell, *, long: bool) -> None:
    left = [job for job in group if not learner.done(job)]
    if not left:
        return
    said = began = time.monotonic()
    spent = 0.0
    results = _results(learner, left, workers)
    with Interruptible(), closing(results):
        for count, (job, result) in enumerate(results, 1):
            if isinstance(result, Interrupted):
                raise result
            if isinstance(result, Exception):
                raise JobError(
                    f"expected {' '.join(job)} to be done, got: {result}; the same command goes "
                    "on with what is left"
                ) from result
            spent += result
            now = time.monotonic()
            if long or now - said > 15 or count == len(left):
                said = now
                tell(
                    f"{' '.join(job)}: {duration(result)} of processor time; {count} of "
                    f"{len(left)} done in {duration(now - began)}"
                )
    tell(f"{len(left)} jobs took {duration(spent)} of processor time")


def _results(
    learner: Learner, jobs: Sequence[Job], workers: int
) -> Generator[tuple[Job, float | Exception], None, None]:
    make = partial(_worker, learner)
    if learner.parallel:
        yield from run_shards(make, jobs, workers=min(workers, len(jobs)))
        return
    for job in jobs:
        # Two may work, so it is in a process of its own, with which its memory ends.
        yield from run_shards(make, [job], workers=2)


# ---- asking


def ask(
    learner: Learner,
    ratios: Sequence[Ratio],
    seeds: Sequence[int],
    out: Path,
    tell: Tell,
) -> dict[Domain, dict[tuple[str, int], list[Result]]]:
    """Results of every domain, column and seed; one a data set.

    Raises:
        Interrupted: Stopped; the same call goes on.
        JobError: Too many samples of a run have no reply.
    """
    models = [(ratio, seed) for seed in seeds for ratio in (None, *ratios)]
    found: dict[Domain, dict[tuple[str, int], list[Result]]] = {}
    for exam in learner.exams():
        dataset = load_dataset(exam.data, split=exam.split)
        tell(f"asking {len(models)} models about {dataset.name}")
        for ratio, seed in models:
            result = _asked(learner, exam, dataset, ratio, seed, out)
            by_model = found.setdefault(exam.domain, {})
            by_model.setdefault((name_of(ratio), seed), []).append(result)
            tell(f"{name_of(ratio)}, seed {seed}: {100 * result.accuracy:.1f} % right")
    return found


def _asked(
    learner: Learner, exam: Exam, dataset: Dataset, ratio: Ratio | None, seed: int, out: Path
) -> Result:
    name, options = learner.model(ratio, seed)
    result = evaluate(name, dataset, limit=exam.limit, out=out / "runs", **options)
    if result.interrupted:
        raise Interrupted
    if result.incomplete:
        raise JobError(f"{name_of(ratio)}, seed {seed}: {result.incomplete}")
    return result


# ---- writing


def write(found: Sweep, learner: Learner) -> list[Path]:
    """Writes `sweep.json`, `sweep.md` and `sweep.csv`.

    Raises:
        UsageError: The folder cannot be written.
    """
    reduced = found.reduced
    whole: dict[str, Any] = {
        "about": learner.about(),
        "columns": reduced.columns,
        "seeds": reduced.seeds,
        "finding": found.finding,
        "advice": msgspec.to_builtins(found.advice),
        "rows": msgspec.to_builtins(reduced.rows),
    }
    texts = {
        "sweep.json": msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n",
        "sweep.md": tables.markdown(reduced, found.advice, found.finding),
        "sweep.csv": tables.as_csv(reduced),
    }
    paths = []
    try:
        for name, text in texts.items():
            write_atomically(found.out / name, text.encode())
            paths.append(found.out / name)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, got {found.out} ({error.strerror})"
        ) from None
    return paths
