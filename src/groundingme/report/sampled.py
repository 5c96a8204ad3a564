"""What a report knows of a run with several trajectories of each sample."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.alignment import Entry
from groundingme.protocols import BOX, REJECTED
from groundingme.report.marks import Mark
from groundingme.scale import curves, stopping
from groundingme.scale.curves import Frontier, Point
from groundingme.scale.kept import load_choices
from groundingme.scale.select import SELECTORS, Choice
from groundingme.scale.selection import (
    SAMPLED,
    Row,
    SampleRun,
    image_codes,
    load_sample_run,
    narrowed,
    select,
)
from groundingme.scale.trajectories import AGREE, Trajectories, clusters, correct, sizes
from groundingme.schema import Sample

_CONTROLS = ("first", "random", "longest", "shortest")
"""Selectors whose disagreement says nothing of a sample."""


class Sampled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A run with several trajectories, and what they are worth.

    Attributes:
        mark: Of the run.
        run: Cut to the samples of the report, in their order.
        rows: One a way to choose, judged ones of earlier sessions included.
        scaling: Score against N, by selector.
        frontier: Score against tokens of the majority, by way to stop.
        by_confidence: Likewise, of the most confident answer; empty without confidences.
        choices: What ways to choose take, by name.
    """

    mark: Mark
    run: SampleRun
    rows: list[Row]
    scaling: dict[str, list[Point]]
    frontier: dict[str, list[Frontier]]
    by_confidence: dict[str, list[Frontier]]
    choices: dict[str, Choice]


def sampled_runs(entries: Sequence[Entry], samples: Sequence[Sample]) -> list[Sampled]:
    """Of a report's runs those with several trajectories.

    Args:
        entries: Aligned and named.
        samples: That all runs were asked, with images where they are to be had.
    """
    found = []
    for at, entry in enumerate(entries):
        if entry.path is None or not entry.run.settings.get(SAMPLED):
            continue
        run = load_sample_run(entry.path)
        found.append(of_run(narrowed(run, samples), Mark(at, entry.label)))
    return found


def of_run(
    run: SampleRun, mark: Mark, *, rows: Sequence[Row] | None = None, seed: int = 0
) -> Sampled:
    """What the trajectories of one run are worth.

    Args:
        run: Stored trajectories.
        mark: Of the run.
        rows: Of `select`, where they are there.
        seed: Of random orders, and of intervals.
    """
    t, images = run.t, image_codes(run)
    sure = bool(np.isfinite(t.confidence).any())
    return Sampled(
        mark=mark,
        run=run,
        rows=list(rows) if rows is not None else select(run, seed=seed),
        scaling=curves.scaling(t, images, seed=seed),
        frontier=curves.frontier(t, images, seed=seed),
        by_confidence=curves.frontier(t, images, "confidence", seed=seed) if sure else {},
        choices=_choices(run, seed),
    )


def _choices(run: SampleRun, seed: int) -> dict[str, Choice]:
    t, rng = run.t, np.random.default_rng(seed)
    found = {} if run.greedy is None else {"greedy": _greedy(run.greedy)}
    names = [name for name in curves.selectors(t) if name not in _CONTROLS]
    found |= {name: SELECTORS[name](t, rng) for name in names}
    for name, rule in (("posterior", stopping.posterior()), ("window", stopping.window())):
        found[f"stop-{name}"] = stopping.replay(t, rule)[1]
    judged = load_choices(run.folder.path, t)
    return found | {name: choice for name, (choice, _) in judged.items()}


def _greedy(t: Trajectories) -> Choice:
    return Choice(t.outcome[:, 0], t.boxes[:, 0], np.full(len(t), -1, dtype=np.intp))


def in_cluster(t: Trajectories, choice: Choice) -> NDArray[np.intp]:
    """Shape `(S,)`: leader of the cluster that an answer belongs to; -1 for one of its own."""
    label = clusters(t)
    rows = np.arange(len(t))
    own = np.where(choice.index >= 0, label[rows, np.maximum(choice.index, 0)], -1)
    leads = label == np.arange(t.n)
    boxes = np.repeat(choice.boxes[:, None], t.n, axis=1)
    same = correct(t.outcome, t.boxes, boxes, choice.outcome[:, None] == REJECTED, AGREE)
    same &= leads & (choice.outcome[:, None] <= REJECTED)
    same &= (choice.outcome[:, None] == BOX) == (t.outcome == BOX)
    near = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    return np.asarray(np.where(own >= 0, own, near))


def most_telling(one: Sampled, most: int) -> list[int]:
    """Rows of the samples to show, the most telling ones first.

    First those that some ways to choose have right and others wrong, then those where a right
    answer is there and the majority is another, then the others; among equals those first whose
    largest cluster is smallest.
    """
    t = one.run.t
    right = np.stack([choice.right(t) for choice in one.choices.values()])
    mixed = right.any(axis=0) & ~right.all(axis=0)
    missed = t.right().any(axis=1) & ~one.choices["majority"].right(t)
    largest = sizes(clusters(t)).max(axis=1)
    order = np.lexsort((np.arange(len(t)), largest, ~missed, ~mixed))
    return [int(at) for at in order[:most]]
