"""Samples, replies and scores as columns: what CSV, parquet and data frames are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from groundingme.protocols import Scores
from groundingme.schema import Box, Generation, Sample, Score

Columns = dict[str, list[Any]]


class Row(NamedTuple):
    """What one row is made from."""

    sample: Sample
    generation: Generation
    score: Score
    image: str


def columns(
    samples: Sequence[Sample],
    scores: Scores,
    generations: Mapping[str, Generation],
    images: Mapping[str, str] | None = None,
) -> Columns:
    """One column a name of `KINDS`, in their order; None where a cell is not known.

    Args:
        samples: N, in the order of `scores`.
        scores: Of those samples.
        generations: By sample id; a sample without one has an empty reply.
        images: Names of images by sample id, where the samples do not say.
    """
    names = images or {}
    rows = [
        Row(
            sample,
            generations.get(sample.id, Generation(id=sample.id)),
            score,
            sample.image.name if sample.image else names.get(sample.id, ""),
        )
        for sample, score in zip(samples, scores, strict=True)
    ]
    return {name: [_cell(read(row)) for row in rows] for name, (_, read) in _COLUMNS.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    # Half of a surrogate pair is no text in any of these files.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _edge(box: Box | None, at: int) -> float | None:
    return None if box is None else float(box[at])


def _edges(name: str, box: Callable[[Row], Box | None]) -> dict[str, tuple[type, Any]]:
    def edge(at: int) -> Callable[[Row], float | None]:
        return lambda row: _edge(box(row), at)

    return {f"{name}_{end}": (float, edge(at)) for at, end in enumerate(("x1", "y1", "x2", "y2"))}


_COLUMNS: dict[str, tuple[type, Callable[[Row], Any]]] = {
    "id": (str, lambda row: row.sample.id),
    "description": (str, lambda row: row.sample.description),
    "image": (str, lambda row: row.image or None),
    "width": (int, lambda row: row.sample.width or None),
    "height": (int, lambda row: row.sample.height or None),
    "subtask_l1": (str, lambda row: row.sample.subtask_l1),
    "subtask_l2": (str, lambda row: row.sample.subtask_l2),
    "detection_type": (str, lambda row: row.sample.detection_type),
    **_edges("target", lambda row: row.sample.target),
    "outcome": (str, lambda row: row.score.outcome),
    "reason": (str, lambda row: row.score.reason),
    **_edges("box", lambda row: row.score.box),
    "iou": (float, lambda row: row.score.iou),
    "right": (bool, lambda row: row.score.iou >= 0.5),
    "center": (bool, lambda row: row.score.center),
    "scored": (bool, lambda row: row.score.scored),
    "reply": (str, lambda row: row.generation.text),
    "reasoning": (str, lambda row: row.generation.reasoning),
    "finish_reason": (str, lambda row: row.generation.finish_reason),
    "failure": (str, lambda row: row.generation.failure),
    "detail": (str, lambda row: row.generation.detail),
    "confidence": (float, lambda row: row.generation.confidence),
    "prompt_tokens": (int, lambda row: row.generation.prompt_tokens),
    "completion_tokens": (int, lambda row: row.generation.completion_tokens),
    "reasoning_tokens": (int, lambda row: row.generation.reasoning_tokens),
    "latency": (float, lambda row: row.generation.latency),
}

KINDS: dict[str, type] = {name: kind for name, (kind, _) in _COLUMNS.items()}
"""Type of each column: `str`, `int`, `float` or `bool`. Boxes are xyxy in pixels, shares in [0, 1],
`latency` in seconds, `right` is IoU of 0.5 or more, or a right rejection."""
