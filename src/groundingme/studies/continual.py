"""Going on with the training of a matcher: rejections of one more kind in each step.

The learner is the sweep's: the matcher of the built-in grounder, on drawn scenes. The untouched
model has seen descriptions of something that is there, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.models.builtin.nets import Nets

if TYPE_CHECKING:
    from groundingme.train.sweep.grounder import Grounder

KINDS = ("Appearance", "Component", "Text", "State")
"""Kinds of rejections in the order in which they are taught."""

REPLAYS = ("none", "positives", "positives and earlier")

SHAPE = {"width": 64, "rounds": 2, "heads": 4, "inner": 64}
"""Of the matcher: smaller than the shipped one, so that a laptop trains it in a minute or two."""


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


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """One training in steps, kept in a folder; what is there is not done again.

    Attributes:
        out: Folder.
        drawn: Scenes that are drawn and read, for the untouched model.
        pages: Scenes that are asked about.
        batches: Of 64 questions, of the untouched model.
        size: Questions of a step.
        seed: Of everything.
    """

    out: Path
    drawn: int = 100
    pages: int = 600
    batches: int = 400
    size: int = 640
    seed: int = 0

    @property
    def learner(self) -> Grounder:
        """Who learns the first part."""
        from groundingme.train.sweep.grounder import Amount, Grounder

        amount = Amount(drawn=self.drawn, pages=self.pages, steps=self.batches, shape=SHAPE)
        return Grounder(self.out, amount)

    @property
    def start(self) -> Path:
        """Folder of the untouched model."""
        from groundingme.train.sweep.plan import model_folder

        return model_folder(self.out, None, self.seed)

    def folder(self, replay: str, step: int) -> Path:
        """Folder of the model after a step; before the first one, of the untouched model."""
        name = f"{replay.replace(' ', '-')}-step-{step + 1}-seed-{self.seed}"
        return self.out / "models" / name if step >= 0 else self.start

    def begin(self) -> None:
        """Draws scenes, asks about them, and trains the untouched model."""
        for jobs in self.learner.jobs([], [self.seed]):
            for job in jobs:
                if job[0] != "exam":
                    self.learner.do(job)

    def go_on(self, replay: str, step: int) -> None:
        """Trains one step further than the step before."""
        import torch

        from groundingme.train.grounder import export
        from groundingme.train.grounder.match_training import Desk
        from groundingme.train.grounder.questions import load_questions
        from groundingme.train.sweep import lessons
        from groundingme.train.sweep.grounder import SPLIT

        folder = self.folder(replay, step)
        if (folder / "grounder.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        words = Nets().table.words
        pages = load_questions(self.learner.data, SPLIT)
        kinds = ["" if one.target >= 0 else one.l2 for page in pages for one in page.exercises]
        numbers = {word: number for number, word in enumerate(words)}
        desk = Desk(pages, None, numbers, 0.5, self.seed)
        net = lessons.prepared(len(words), SHAPE, self.seed)
        net.load_state_dict(torch.load(self.folder(replay, step - 1) / "match.pt"))
        order = lesson(kinds, step, replay, self.size, self.seed)
        lessons.train_mixture(net, desk, order, folder / "match.pt", lambda line: None)
        export.fill_match(self.learner.data / "graph.onnx", net, folder / "match.onnx")
        export.write_table(folder, words, {})
