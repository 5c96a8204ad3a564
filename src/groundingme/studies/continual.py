"""Going on with the training of a matcher: rejections of one more kind in each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundingme.report.svg import Span
from groundingme.result import Result
from groundingme.studies.estimates import Bools
from groundingme.studies.learning import School
from groundingme.taxonomy import REJECTION
from groundingme.terminal import say

KINDS = ("Appearance", "Component", "Text", "State")
"""Kinds of rejections in the order in which they are taught."""

REPLAYS = ("none", "positives", "positives and earlier")

GROUPS = ("positives", "general", "rejections")
"""Discriminative subtasks; Spatial and Limited ones; descriptions that match nothing."""

After = Mapping[tuple[str, int], Mapping[str, Span]]
"""Shares of each group and kind by replay and step, of which -1 is the untouched model."""


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

    def learn(self) -> list[tuple[str, int]]:
        """Trains what is not there yet, and tells; replay and step of each, as `after` takes it."""
        say(f"seed {self.seed}: training the untouched model", err=True)
        self.begin()
        steps = [(REPLAYS[0], -1)]
        for replay in REPLAYS:
            for step in range(len(KINDS)):
                told = f"training with replay of {replay}, step {step + 1}"
                say(f"seed {self.seed}: {told}", err=True)
                self.go_on(replay, step)
                steps.append((replay, step))
        return steps


def groups(result: Result) -> Mapping[str, Bools]:
    """Masks of the samples of each group and of each kind of rejection."""
    l1 = np.array([one.subtask_l1 for one in result.samples])
    l2 = np.array([one.subtask_l2 for one in result.samples])
    negative = np.asarray(result.scores.negatives, bool)
    masks = {
        "positives": ~negative & (l1 == "Discriminative"),
        "general": ~negative & (l1 != "Discriminative") & (l1 != REJECTION),
        "rejections": negative,
    }
    return masks | {kind: negative & (l2 == kind) for kind in KINDS}


def faded(after: After, replay: str) -> float:
    """Mean drop of the kinds from their own step to the later one after which they are lowest."""
    drops = [
        after[replay, step][kind].value
        - min(after[replay, later][kind].value for later in range(step + 1, len(KINDS)))
        for step, kind in enumerate(KINDS[:-1])
    ]
    known = [one for one in drops if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")
