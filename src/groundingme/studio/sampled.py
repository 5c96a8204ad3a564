"""Runs with several trajectories of each sample: what each says, who chose it, what judges said."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import geometry
from groundingme.protocols import OUTCOMES
from groundingme.report.trajectories import reason
from groundingme.scale import curves
from groundingme.scale.kept import load_choices
from groundingme.scale.select import SELECTORS, Choice
from groundingme.scale.selection import Row, load_sample_run, select
from groundingme.scale.trajectories import Trajectories, clusters, gather, sizes
from groundingme.schema import Box, Generation
from groundingme.studio.library import Opened

LONGEST = 200_000
"""Characters of a reply or of reasoning that are sent."""

_CONTROLS = ("random", "longest", "shortest")
"""Selectors whose choice says nothing of a sample."""


def several(opened: Opened, row: int) -> dict[str, Any]:
    """`trajectories`, `choices` and `verdicts` of a sample; all empty in a run with one each.

    Trajectories are read as the strict protocol does. A choice names a selector, the trajectory
    that it takes (None for a box put together from several), and whether that is right.
    """
    if opened.n < 2:
        return {"trajectories": [], "choices": [], "verdicts": []}
    sample = opened.samples[row]
    said = {(sample.id, k): one for k, one in opened.trajectories.get(sample.id, {}).items()}
    t = gather([sample], said, opened.n, opened.run.coords)
    return {
        "trajectories": _trajectories(t, said),
        "choices": _choices(opened, t),
        "verdicts": _verdicts(opened, sample.id),
    }


def _trajectories(t: Trajectories, said: dict[tuple[str, int], Generation]) -> list[dict[str, Any]]:
    id, groups = t.ids[0], _groups(t)
    right = t.right()[0]
    ious = geometry.iou(t.boxes[0], np.repeat(t.targets, t.n, axis=0))
    found = []
    for k in range(t.n):
        one = said.get((id, k)) or Generation(id=id, failure="not-asked")
        found.append(
            {
                "index": k,
                "text": one.text[:LONGEST],
                "reasoning": one.reasoning[:LONGEST],
                "failure": one.failure,
                "outcome": OUTCOMES[t.outcome[0, k]],
                "box": _box(t.boxes[0, k]),
                "iou": None if t.negatives[0] else float(ious[k]),
                "right": bool(right[k]),
                "cluster": groups[k],
                "confidence": one.confidence,
                "tokens": one.completion_tokens,
            }
        )
    return found


def _groups(t: Trajectories) -> list[int | None]:
    """Number of each trajectory's cluster, the largest being 0; None where it gives no answer."""
    label = clusters(t)
    size = sizes(label)[0]
    leaders = sorted(set(label[0].tolist()) - {-1}, key=lambda at: (-size[at], at))
    return [leaders.index(at) if at >= 0 else None for at in label[0].tolist()]


def _choices(opened: Opened, t: Trajectories) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    names = [name for name in curves.selectors(t) if name not in _CONTROLS]
    found: dict[str, Choice] = {name: SELECTORS[name](t, rng) for name in names}
    found |= {name: choice for name, (choice, _) in load_choices(opened.path, t).items()}
    return [
        {
            "name": name,
            "index": int(one.index[0]) if one.index[0] >= 0 else None,
            "outcome": OUTCOMES[one.outcome[0]],
            "box": _box(one.boxes[0]),
            "right": bool(one.right(t)[0]),
        }
        for name, one in found.items()
    ]


def _box(edges: NDArray[np.float64]) -> Box | None:
    if not np.isfinite(edges).all():
        return None
    x1, y1, x2, y2 = edges.tolist()
    return x1, y1, x2, y2


def _verdicts(opened: Opened, id: str) -> list[dict[str, Any]]:
    return [
        {
            "judge": judge,
            "first": one.first,
            "second": one.second,
            "winner": one.winner,
            "failure": one.failure,
            "reason": " ".join(filter(None, map(reason, one.replies))),
            "words": "\n\n".join(filter(None, one.replies))[:LONGEST],
        }
        for judge, one in opened.verdicts().get(id, [])
    ]


SELECTOR_COLUMNS = (
    "name", "score", "low", "high", "gain", "gain_low", "gain_high", "p", "trajectories",
    "tokens", "dollars",
)  # fmt: skip


def ways(opened: Opened) -> list[dict[str, Any]]:
    """What each way to choose among the trajectories is worth; empty in a run with one each."""
    if opened.n < 2:
        return []
    rows: list[Row] = select(load_sample_run(opened.path))
    return [msgspec.structs.asdict(one) for one in rows]
