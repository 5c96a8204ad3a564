"""Going on with the training of a matcher: rejections of one more kind in each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundingme.studies.learning import School

KINDS = ("Appearance", "Component", "Text", "State")
"""Kinds of rejections in the order in which they are taught."""

REPLAYS = ("none", "positives", "positives and earlier")


def lesson(kinds: Sequence[str], step: int, replay: str, size: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the questions of a step, in the order in which they come up.

    Args:
        kinds: Of all questions: "" for one that something matches, else of `KINDS`.
        step: From 0: which kind is new.
        replay: Of `REPLAYS`. `none`: the new kind alone. `positives`: half of them are such.
            `positives and earlier`: that, and the other half is shared evenly by all kinds so far.
        size: Questions.
        seed: Of drawing; with replacement where there are too few of a kind.
    """
    rng = np.random.default_rng([seed, 11, step])
    taught = KINDS[: step + 1] if replay == REPLAYS[2] else (KINDS[step],)
    rest = size if replay == REPLAYS[0] else size - size // 2
    shares = {kind: rest // len(taught) for kind in taught}
    shares[KINDS[step]] += rest - sum(shares.values())
    if rest < size:
        shares[""] = size // 2
    column = np.array(kinds)
    drawn = []
    for kind, count in shares.items():
        pool = np.flatnonzero(column == kind)
        if count and len(pool):
            drawn.append(rng.choice(pool, count, replace=len(pool) < count))
    return np.asarray(rng.permutation(np.concatenate(drawn)), np.int64)


class Course(School, frozen=True, kw_only=True):
    """One training in steps."""

    def after(self, replay: str, step: int) -> Path:
        """Folder of the model after a step; before the first one, of the untouched model."""
        return self.folder(f"{replay} step {step + 1}") if step >= 0 else self.start

    def go_on(self, replay: str, step: int) -> None:
        """Trains one step further than the step before."""
        pages = self.questions()
        kinds = ["" if one.target >= 0 else one.l2 for page in pages for one in page.exercises]
        order = lesson(kinds, step, replay, self.size, self.seed)
        self.teach(self.after(replay, step - 1), self.after(replay, step), pages, order)
