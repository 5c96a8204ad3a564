"""All selectors on one stored sample run, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import stats
from groundingme.costs import Price, find_price
from groundingme.datasets import Dataset
from groundingme.errors import RunError, UsageError
from groundingme.registry import unknown
from groundingme.saving import load_run_data, load_samples
from groundingme.scale import stopping
from groundingme.scale.court import Court, Tally
from groundingme.scale.judged import Hearing
from groundingme.scale.kept import Heard, load_choices, save_choice
from groundingme.scale.select import SELECTORS, Choice, mean_of_n, pass_at
from groundingme.scale.trajectories import Trajectories, gather, keep
from groundingme.schema import Generation, Run, Sample
from groundingme.store import RunFolder, list_runs
from groundingme.taxonomy import L1
from groundingme.wording import p_value

if TYPE_CHECKING:
    from rich.table import Table

SAMPLED = "sampled"
"""Setting of a run that holds several trajectories of each sample."""

Floats = NDArray[np.float64]


class SampleRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run with several trajectories of each sample.

    Attributes:
        folder: On disk.
        dataset: Its samples, with images where they were asked for and are to be had.
        t: What the trajectories say.
        generations: By sample id and trajectory.
        greedy: A run that differs in nothing but its temperature of 0, if the same folder has
            one: its one trajectory.
        greedy_generations: Its replies, as `generations`.
        notes: What a user should know.
    """

    folder: RunFolder
    dataset: Dataset
    t: Trajectories
    generations: Mapping[tuple[str, int], Generation]
    greedy: Trajectories | None = None
    greedy_generations: Mapping[tuple[str, int], Generation] = {}
    notes: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way of selecting.

    Attributes:
        name: Of the selector.
        score: Acc@0.5, in [0, 1].
        low: Lower end of its 95 % interval, by image.
        high: Upper end.
        by_l1: Score by category.
        gain: Score less the mean of N.
        gain_low: Lower end of its 95 % interval, paired, by image.
        gain_high: Upper end.
        p: Of a paired test against the majority, with Holm's correction over all rows; NaN where
            the score is an expectation.
        trajectories: Used of each sample, on average.
        tokens: Completion tokens of a sample, judges included; of them alone where the model that
            was sampled counts none, and NaN where nobody does.
        dollars: Of the whole run, judges included; None where a price is not known.
        judge: How the judge did; None without one.
    """

    name: str
    score: float
    low: float
    high: float
    by_l1: dict[str, float]
    gain: float
    gain_low: float
    gain_high: float
    p: float
    trajectories: float
    tokens: float
    dollars: float | None
    judge: Tally | None = None


class _Way(msgspec.Struct, frozen=True):
    """A selector's result before statistics: right is `(S,)` in [0, 1], used `(S,)`."""

    name: str
    right: Floats
    used: Floats
    court: Sequence[Heard] = ()
    expected: bool = False


Judged = Callable[[Hearing], tuple[Choice, Sequence[Court]]]
"""Asks its judges and gives the choice and the courts that heard it."""


def load_sample_run(path: str | Path, *, images: bool = False) -> SampleRun:
    """Opens a run with several trajectories.

    Args:
        path: Run folder.
        images: Whether judges need to see.

    Raises:
        RunError: It is no run folder, or each sample has one reply only.
    """
    folder = RunFolder.open(path)
    generations = folder.trajectories()
    n = 1 + max((k for _, k in generations), default=-1)
    if n < 2:
        raise RunError(
            f"expected a run with several trajectories of each sample, got {n} in {path}; make one "
            "with `groundingme sample`"
        )
    notes: list[str] = []
    if images:
        dataset, why = load_run_data(folder)
        notes += [why] if why else []
    else:
        dataset = load_samples(folder)
    t = keep(gather(dataset.samples, generations, n, folder.run.coords))
    missing = int((t.outcome == 3).sum())
    if missing:
        notes.append(
            f"{missing} of {t.outcome.size} trajectories are missing or failed; they are never "
            "chosen where anything else is there"
        )
    other = _greedy(folder)
    said = other.trajectories() if other else {}
    return SampleRun(
        folder=folder,
        dataset=dataset,
        t=t,
        generations=generations,
        greedy=gather(dataset.samples, said, 1, other.run.coords) if other else None,
        greedy_generations=said,
        notes=tuple(notes),
    )


def narrowed(run: SampleRun, samples: Sequence[Sample]) -> SampleRun:
    """A run cut to some of its samples, in that order; they may come with images."""
    places = {id: row for row, id in enumerate(run.t.ids)}
    rows = [places[one.id] for one in samples]
    data = run.dataset
    return msgspec.structs.replace(
        run,
        dataset=Dataset(name=data.name, source=data.source, samples=samples),
        t=run.t.of(rows),
        greedy=run.greedy.of(rows) if run.greedy else None,
    )


def _greedy(folder: RunFolder) -> RunFolder | None:
    """The run that asked the same at a temperature of 0."""

    def asked(run: Run) -> dict[str, Any]:
        left = {k: v for k, v in run.settings.items() if k not in (SAMPLED, "temperature")}
        return {
            "model": run.model, "data": run.data_fingerprint, "prompt": run.prompt,
            "subset": run.subset, "limit": run.limit, "settings": left,
        }  # fmt: skip

    for other in list_runs(folder.path.parent):
        settings = other.run.settings
        greedy = settings.get("temperature") == 0 and not settings.get(SAMPLED)
        if greedy and asked(other.run) == asked(folder.run):
            return other
    return None


def select(
    run: SampleRun,
    by: Sequence[str] = ("all",),
    *,
    judged: Mapping[str, Judged] | None = None,
    price: Price | None = None,
    seed: int = 0,
) -> list[Row]:
    """Selects in every way that is asked for.

    Args:
        run: Stored trajectories.
        by: Names in `WAYS`, of `judged`, and of judged selections that were kept, or `all`.
        judged: Selectors that ask judges, by name.
        price: Of the sampled model; looked up by default.
        seed: Of chance and of the bootstrap.

    Returns:
        One row a way, in the order of `WAYS`.

    Raises:
        UnknownNameError: No selector has that name.
        UsageError: `by` is empty.
    """
    earlier = load_choices(run.folder.path, run.t)
    ways = {**WAYS, **dict.fromkeys(judged or {}), **dict.fromkeys(earlier)}
    wanted = list(ways) if "all" in by else list(by)
    if not wanted:
        raise UsageError(f"expected selectors, got none; known: {', '.join(ways)}")
    for name in wanted:
        if name not in ways:
            raise unknown("selector", name, [*ways, "all"])
    if run.greedy is None and "greedy" in wanted:
        wanted.remove("greedy")
    hearing = Hearing(run.t, run.dataset.samples, run.generations)
    found: list[_Way] = []
    for name in (name for name in ways if name in wanted):
        if judged and name in judged:
            choice, courts = judged[name](hearing)
            save_choice(run.folder.path, name, run.t, choice, courts)
            found.append(_Way(name, _as_float(choice.right(run.t)), _all(run.t), courts))
        elif name in earlier:
            choice, told = earlier[name]
            found.append(_Way(name, _as_float(choice.right(run.t)), _all(run.t), told))
        else:
            found.append(WAYS[name](run, np.random.default_rng(seed)))
    return _rows(run, found, price or find_price(run.folder.run.model), seed)


def _as_float(right: NDArray[np.bool_]) -> Floats:
    return right.astype(np.float64)


def _all(t: Trajectories) -> Floats:
    return np.full(len(t), float(t.n))


def _one(t: Trajectories) -> Floats:
    return np.ones(len(t))


def _plain(name: str) -> Callable[[SampleRun, np.random.Generator], _Way]:
    def way(run: SampleRun, rng: np.random.Generator) -> _Way:
        right = SELECTORS[name](run.t, rng).right(run.t)
        single = name in ("first", "random")
        return _Way(name, _as_float(right), _one(run.t) if single else _all(run.t))

    return way


def _stopped(name: str, rule: stopping.Rule) -> Callable[[SampleRun, np.random.Generator], _Way]:
    def way(run: SampleRun, rng: np.random.Generator) -> _Way:
        used, choice = stopping.replay(run.t, rule)
        return _Way(name, _as_float(choice.right(run.t)), used.astype(np.float64))

    return way


def _from_greedy(run: SampleRun, rng: np.random.Generator) -> _Way:
    assert run.greedy is not None
    return _Way("greedy", _as_float(run.greedy.right()[:, 0]), _one(run.t))


def _mean(run: SampleRun, rng: np.random.Generator) -> _Way:
    return _Way("mean", mean_of_n(run.t), _one(run.t), expected=True)


def _oracle(run: SampleRun, rng: np.random.Generator) -> _Way:
    return _Way("oracle", pass_at(run.t, run.t.n), _all(run.t), expected=True)


WAYS: dict[str, Callable[[SampleRun, np.random.Generator], _Way]] = {
    "greedy": _from_greedy,
    "mean": _mean,
    **{name: _plain(name) for name in SELECTORS},
    "stop-posterior": _stopped("stop-posterior", stopping.posterior()),
    "stop-window": _stopped("stop-window", stopping.window()),
    "oracle": _oracle,
}
"""Every way without a judge, by name, in the order of the table."""


def _rows(run: SampleRun, ways: Sequence[_Way], price: Price | None, seed: int) -> list[Row]:
    t = run.t
    clusters = image_codes(run)
    mean = mean_of_n(t)
    majority = SELECTORS["majority"](t, np.random.default_rng(seed)).right(t)
    right = np.stack([way.right for way in ways], axis=1)
    columns = np.concatenate([right, right - mean[:, None], np.ones((len(t), 1))], axis=1)
    sums = stats.resampled_sums(columns, clusters, seed=seed)
    low, high = stats.percentiles(sums[:, :-1] / sums[:, -1:])
    tested = [at for at, way in enumerate(ways) if not way.expected and way.name != "majority"]
    p = np.full(len(ways), math.nan)
    if tested:
        p[tested] = stats.holm(
            [
                stats.paired_test(ways[at].right - majority.astype(np.float64), clusters)
                for at in tested
            ]
        )
    l1 = np.array(t.subtask_l1, dtype=object)
    spent = _Costs(run, price)
    rows: list[Row] = []
    for at, way in enumerate(ways):
        own = way.right.mean()
        exact = stats.needs_exact(way.right) and not way.expected
        ends = stats.exact_interval(way.right, clusters) if exact else (low[at], high[at])
        tokens, dollars = spent.of(way)
        rows.append(
            Row(
                name=way.name,
                score=float(own),
                low=float(ends[0]),
                high=float(ends[1]),
                by_l1={name: float(way.right[l1 == name].mean())
                       for name in dict.fromkeys(t.subtask_l1) if name},
                gain=float((way.right - mean).mean()),
                gain_low=float(low[len(ways) + at]),
                gain_high=float(high[len(ways) + at]),
                p=float(p[at]),
                trajectories=float(way.used.mean()),
                tokens=tokens,
                dollars=dollars,
                judge=_tally(way.court),
            )
        )  # fmt: skip
    return rows


def image_codes(run: SampleRun) -> NDArray[np.int64]:
    """One number a sample, shape `(S,)`: the same for samples on the same image."""
    keys = []
    for id in run.t.ids:
        found = (run.generations.get((id, k)) for k in range(run.t.n))
        digest = next((one.image_digest for one in found if one and one.image_digest), "")
        keys.append(digest or f"sample {id}")
    return stats.cluster_codes(keys)


class _Costs:
    """What trajectories and judges cost."""

    def __init__(self, run: SampleRun, price: Price | None) -> None:
        self._run, self._price = run, price
        self._dollars = _dollars(run.t, run.generations, price)

    def of(self, way: _Way) -> tuple[float, float | None]:
        """Completion tokens a sample, and dollars in all."""
        run = self._run
        counts, dollars = run.t.tokens, self._dollars
        if way.name == "greedy" and run.greedy:
            counts = run.greedy.tokens
            dollars = _dollars(run.greedy, run.greedy_generations, self._price)
        tokens = float(_used(counts, way).mean()) if np.isfinite(counts).any() else math.nan
        cost = float(_used(dollars, way).sum()) if self._price else None
        if way.court and math.isnan(tokens):
            tokens = 0.0
        for court in way.court:
            tokens += court.spending.completion_tokens / max(1, len(run.t))
            priced = court.spending.price is not None
            cost = cost + court.spending.dollars if priced and cost is not None else None
        return tokens, cost


def _dollars(
    t: Trajectories, generations: Mapping[tuple[str, int], Generation], price: Price | None
) -> Floats:
    """Dollars of each trajectory, shape `(S, N)`; NaN where they are not known."""
    found = np.full(t.outcome.shape, np.nan)
    for row, id in enumerate(t.ids if price else ()):
        for k in range(t.n):
            one = generations.get((id, k))
            paid = one is not None and not one.failure and not one.cached
            cost = price.of(one) if price and one and paid else 0.0
            found[row, k] = np.nan if cost is None else cost
    return found


def _used(values: Floats, way: _Way) -> Floats:
    """Sums over the trajectories that a way uses, shape `(S,)`; unknown ones count nothing."""
    known = np.nan_to_num(values)
    if way.name in ("mean", "random"):
        return np.asarray(known.mean(axis=1))
    taken = np.arange(values.shape[1]) < way.used[:, None]
    return np.asarray(np.where(taken, known, 0.0).sum(axis=1))


def _tally(courts: Sequence[Heard]) -> Tally | None:
    if not courts:
        return None
    fields = msgspec.structs.fields(Tally)
    return Tally(**{f.name: sum(getattr(c.tally, f.name) for c in courts) for f in fields})


def table(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    from rich import box
    from rich.table import Table

    categories = [c for c in L1 if any(c in row.by_l1 for row in rows)]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    heads = ["Acc@0.5", "95 %", *(c[:3] for c in categories), "gain on mean", "95 %",
             "p (majority)", "trajectories", "tokens"]  # fmt: skip
    if any(row.dollars is not None for row in rows):
        heads.append("$")
    if any(row.judge for row in rows):
        heads += ["pairs", "undecided", "failed", "not asked", "first"]
    for head in heads:
        made.add_column(head, justify="right")
    for row in rows:
        cells = [
            _percent(row.score),
            f"{_percent(row.low)} to {_percent(row.high)}",
            *(_percent(row.by_l1.get(c, math.nan)) for c in categories),
            f"{100 * row.gain:+.1f}",
            f"{100 * row.gain_low:+.1f} to {100 * row.gain_high:+.1f}",
            p_value(row.p),
            f"{row.trajectories:.1f}",
            "·" if math.isnan(row.tokens) else f"{row.tokens:,.0f}",
        ]
        if "$" in heads:
            cells.append("·" if row.dollars is None else f"{row.dollars:.2f}")
        if "pairs" in heads:
            j = row.judge
            cells += (
                [str(j.pairs), str(j.undecided), str(j.failed), str(j.unasked),
                 _percent(j.first_share)]
                if j else ["·"] * 5
            )  # fmt: skip
        made.add_row(row.name, *cells)
    return made


def _percent(share: float) -> str:
    return "·" if math.isnan(share) else f"{100 * share:.1f}"
