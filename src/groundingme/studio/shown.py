"""Runs and samples as the API says them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import slices, taxonomy
from groundingme.mistakes import KINDS, other_objects
from groundingme.protocols import FAILED, OUTCOMES, PROTOCOLS, UNPARSED
from groundingme.registry import unknown
from groundingme.schema import Generation
from groundingme.stats import Floats
from groundingme.studio.board import share
from groundingme.studio.library import Opened
from groundingme.studio.sampled import LONGEST, several
from groundingme.studio.spans import spans

ORDERS = ("id", "iou", "confidence", "tokens", "latency", "description")
"""How samples can be sorted; with `-` before it the other way round. `id`: as in the data set."""

Pictured = Callable[[str], str]
"""The key of a sample's picture by the sample's id."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples of a run, and in which order.

    Attributes:
        l1: Category, or "".
        l2: Subtask, or "".
        outcome: Of `protocols.OUTCOMES`, or "".
        right: None for both.
        kind: Of `mistakes.KINDS`, or "".
        query: Text in the id or description, in any case.
        order: Of `ORDERS`.
    """

    l1: str = ""
    l2: str = ""
    outcome: str = ""
    right: bool | None = None
    kind: str = ""
    query: str = ""
    order: str = "id"

    def rows(self, opened: Opened) -> NDArray[np.int64]:
        """Rows of the samples that pass, in order; equal ones as in the data set.

        Raises:
            UnknownNameError: No outcome, kind or order has that name.
        """
        scores = opened.entry.scores
        keep = np.ones(len(opened), dtype=bool)
        if self.l1:
            keep &= np.array([one == self.l1 for one in scores.subtask_l1], dtype=bool)
        if self.l2:
            keep &= np.array([one == self.l2 for one in scores.subtask_l2], dtype=bool)
        if self.outcome:
            keep &= scores.outcome == _index("outcome", self.outcome, OUTCOMES)
        if self.kind:
            keep &= opened.kinds.kind == _index("kind of mistake", self.kind, KINDS)
        if self.right is not None:
            keep &= opened.right == self.right
        if self.query:
            wanted = self.query.casefold()
            keep &= np.array([wanted in one for one in opened.texts], dtype=bool)
        return _sorted(opened, np.flatnonzero(keep), self.order)


def _index(what: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise unknown(what, name, names)
    return list(names).index(name)


def _sorted(opened: Opened, rows: NDArray[np.int64], order: str) -> NDArray[np.int64]:
    name, back = order.removeprefix("-"), order.startswith("-")
    if name not in ORDERS:
        raise unknown("order", name, ORDERS)
    if name == "id":
        return rows[::-1] if back else rows
    if name == "description":
        texts = [opened.samples[row].description.casefold() for row in rows.tolist()]
        places = sorted(range(len(texts)), key=lambda at: texts[at], reverse=back)
        return rows[np.array(places, dtype=np.int64)]
    column = _column(opened, name)[rows]
    # NaN stays at the end either way.
    return rows[np.argsort(-column if back else column, kind="stable")]


def _column(opened: Opened, name: str) -> Floats:
    if name == "latency":
        return np.array([one.latency if one else np.nan for one in opened.replies])
    if name == "iou":
        return opened.entry.scores.ious
    return opened.tokens if name == "tokens" else opened.confidence


def sample_item(opened: Opened, row: int, pictured: Pictured) -> dict[str, Any]:
    """A sample of a list."""
    sample, score = opened.samples[row], opened.entry.scores[row]
    one = opened.replies[row]
    has_picture = sample.id in opened.entry.images
    return {
        "id": sample.id,
        "description": sample.description,
        "l1": sample.subtask_l1,
        "l2": sample.subtask_l2,
        "outcome": score.outcome,
        "kind": KINDS[opened.kinds.kind[row]],
        "right": bool(opened.right[row]),
        "iou": None if opened.entry.scores.negatives[row] else score.iou,
        "confidence": one.confidence if one else None,
        "tokens": one.completion_tokens if one else None,
        "latency": one.latency if one and not one.failure else None,
        "target": None if opened.entry.scores.negatives[row] else sample.target,
        "box": score.box,
        "width": sample.width or None,
        "height": sample.height or None,
        "picture": pictured(sample.id) if has_picture else None,
    }


SAMPLE_COLUMNS = (
    "id", "description", "l1", "l2", "outcome", "kind", "right", "iou", "confidence", "tokens",
    "latency", "target:box", "box:box",
)  # fmt: skip


def sample_page(opened: Opened, row: int, pictured: Pictured) -> dict[str, Any]:
    """All that is known of a sample."""
    sample, score = opened.samples[row], opened.entry.scores[row]
    one = opened.replies[row] or Generation(id=sample.id, failure="not-asked")
    width = sample.width or one.full_width or one.sent_width
    height = sample.height or one.full_height or one.sent_height
    return {
        **sample_item(opened, row, pictured),
        "reply": one.text[:LONGEST],
        "reasoning": one.reasoning[:LONGEST],
        "cut": max(len(one.text), len(one.reasoning)) > LONGEST,
        "finish_reason": one.finish_reason,
        "reason": score.reason,
        "failure": one.failure,
        "detail": one.detail or sample.problem,
        "served_model": one.served_model,
        "prompt_tokens": one.prompt_tokens,
        "reasoning_tokens": one.reasoning_tokens,
        "width": width or None,
        "height": height or None,
        "others": [{"box": other.box, "name": other.name} for other in other_objects(sample)],
        **several(opened, row),
        "spans": [] if one.failure else spans(sample, one, opened.run.coords),
    }


def matrix(opened: Opened) -> list[dict[str, Any]]:
    """Accuracy of all samples, of each category (`l2` is "") and of each subtask."""
    scores = opened.entry.scores
    everything = slices.Slice("all", "", np.ones(len(scores), dtype=bool))
    groups = [everything, *slices.subtask_slices(scores.subtask_l1, scores.subtask_l2)]
    return [_matrix_row(opened, one) for one in groups]


def _matrix_row(opened: Opened, group: slices.Slice) -> dict[str, Any]:
    scores = opened.entry.scores
    members = group.members & scores.scored & (not opened.result.without_score)
    figure = share(opened.right, members, opened.clusters, exact=group.dimension == "L-2")
    l1, _, l2 = group.name.partition("/")
    return {
        "l1": l1,
        "l2": l2,
        "n": int(members.sum()),
        "right": int((opened.right & members).sum()),
        "accuracy": figure.value,
        "low": figure.low,
        "high": figure.high,
        "unparsed": int((group.members & (scores.outcome == UNPARSED)).sum()),
        "failed": int((group.members & (scores.outcome == FAILED)).sum()),
    }


MATRIX_COLUMNS = ("l1", "l2", "n", "right", "accuracy", "low", "high", "unparsed", "failed")


def run_page(opened: Opened) -> dict[str, Any]:
    """What the page of a run has beside its line of the list."""
    run = opened.run
    return {
        "settings": run.settings,
        "prompt": run.prompt,
        "coords": run.coords,
        "source": run.data,
        "versions": run.versions,
        "protocols": list(PROTOCOLS),
        "rows": matrix(opened),
        "mistakes": opened.kinds.counts(),
        "efforts": slices.efforts(opened.entry.scores, opened.entry.generations),
        "trajectories": opened.n,
        "taxonomy": [[row.l1, row.l2, row.tests] for row in taxonomy.SUBTASKS],
        "notes": _notes(opened),
    }


def _notes(opened: Opened) -> list[str]:
    found = [*filter(None, [opened.result.difference]), *opened.result.notes]
    if opened.n > 1:
        found.append(
            f"this run holds {opened.n} trajectories of each sample; its figures are of the first"
        )
    return found


def neighbours(opened: Opened, chosen: Filter, row: int) -> dict[str, Any]:
    """Ids before and after a sample in a filter, its place, and how many there are."""
    rows = chosen.rows(opened)
    places = np.flatnonzero(rows == row)
    at = int(places[0]) if len(places) else None

    def id(place: int) -> str | None:
        return opened.samples[int(rows[place])].id if 0 <= place < len(rows) else None

    if at is None:
        return {"next": id(0), "previous": None, "place": None, "total": len(rows)}
    return {"next": id(at + 1), "previous": id(at - 1), "place": at, "total": len(rows)}


def sample_items(
    opened: Opened, rows: NDArray[np.int64], pictured: Pictured
) -> Iterator[dict[str, Any]]:
    """Samples of a list, one at a time."""
    return (sample_item(opened, int(row), pictured) for row in rows)
