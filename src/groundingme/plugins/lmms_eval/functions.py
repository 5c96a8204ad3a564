"""What lmms-eval calls: the unified prompt, and the strict protocol for each reply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from groundingme import metrics, prompts, protocols
from groundingme.schema import Generation, Sample
from groundingme.taxonomy import REJECTION

COORDS = "GROUNDINGME_COORDS"
"""Environment variable with the name of the format in which the model writes boxes; pixels of the
original picture (`abs`) where it is not set. lmms-eval tells a task nothing of its model."""

WHOLE = ("IoU", "ACC@0.5", "ACC@0.75", "ACC@0.9", "mACC")
"""Figures of the whole data set; of its parts `ACC@0.5` alone."""


def visual(doc: Mapping[str, Any]) -> list[Any]:
    """The picture."""
    return [doc["image"].convert("RGB")]


def text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: object = None) -> str:
    """The unified prompt."""
    return prompts.render(prompts.UNIFIED, doc["description"])


def target(doc: Mapping[str, Any]) -> str:
    """The true box, for the log."""
    return str(doc["bbox"])


def as_sample(doc: Mapping[str, Any]) -> Sample:
    """A row of the published columns."""
    negative = doc["subtask_l1"] == REJECTION or not doc["bbox"]
    x1, y1, x2, y2 = (float(edge) for edge in doc["bbox"] or (0, 0, 0, 0))
    return Sample(
        id=str(doc["id"]), description=doc["description"],
        target=None if negative else (x1, y1, x2, y2),
        width=int(doc["width"]), height=int(doc["height"]),
        subtask_l1=doc["subtask_l1"] or "", subtask_l2=doc["subtask_l2"] or "",
    )  # fmt: skip


def results(doc: Mapping[str, Any], replies: Sequence[str]) -> dict[str, float]:
    """Figures of one reply under the published names; lmms-eval takes the mean of each.

    Args:
        doc: A row.
        replies: One.

    Returns:
        In [0, 1]: `IoU`, `ACC@0.5`, `ACC@0.75`, `ACC@0.9` and `mACC`; and `ACC@0.5` once more under
        the row's category and subtask, as `metrics.summarize` names them.
    """
    sample = as_sample(doc)
    said = Generation(id=sample.id, text=replies[0], finish_reason="stop")
    coords = os.environ.get(COORDS, "abs")
    scores = protocols.score([sample], {sample.id: said}, protocol="strict", coords=coords)
    figures = metrics.summarize(scores)
    return {
        name: value for name, value in figures.items() if name in WHOLE or name.endswith("_ACC@0.5")
    }
