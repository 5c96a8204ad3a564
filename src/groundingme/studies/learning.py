"""What studies that train have in common: a learner small enough for any computer.

It is the sweep's: the matcher of the built-in grounder, on drawn scenes; the nets that see stay as
they are. The untouched model has seen descriptions of something that is there, and nothing else;
every lesson goes on from a model and is kept in a folder. What is there is not done again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import UsageError
from groundingme.interrupting import Interrupted
from groundingme.models import Model, load_model
from groundingme.models.builtin.nets import Nets
from groundingme.report.svg import Span
from groundingme.studies.estimates import Bools, Codes, Gain, gain, share
from groundingme.studies.study import Knob, Setting

if TYPE_CHECKING:
    from groundingme.train.grounder.questions import Page
    from groundingme.train.sweep.grounder import Grounder

LEARNER = "builtin/grounder"
SHAPE = {"width": 64, "rounds": 2, "heads": 4, "inner": 64}
"""Of the matcher: smaller than the shipped one, so that a laptop trains it in a minute or two."""

KNOBS = (
    Knob("batches", 400, "batches of 64 that the untouched model learns from"),
    Knob("size", 640, "questions of each step"),
    Knob("pages", 600, "scenes that are asked about in training"),
    Knob("drawn", 100, "of those, how many are drawn and read"),
    Knob("seeds", 1, "trainings, each with a seed of its own, from --seed on"),
)
"""Options of a study that trains."""


class School(msgspec.Struct, frozen=True, kw_only=True):
    """One training, kept in a folder.

    Attributes:
        out: Folder.
        batches: Of 64 questions, of the untouched model.
        size: Questions of a lesson.
        pages: Scenes that are asked about.
        drawn: Scenes that are drawn and read, for the untouched model.
        seed: Of everything.
    """

    out: Path
    batches: int = 400
    size: int = 640
    pages: int = 600
    drawn: int = 100
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

    def folder(self, name: str) -> Path:
        """Folder of the model after a lesson."""
        return self.out / "models" / f"{name.replace(' ', '-')}-seed-{self.seed}"

    def begin(self) -> None:
        """Draws scenes, asks about them, and trains the untouched model."""
        for jobs in self.learner.jobs([], [self.seed]):
            for job in jobs:
                if job[0] != "exam":
                    self.learner.do(job)

    def questions(self) -> list[Page]:
        """The scenes of the lessons, with their questions."""
        from groundingme.train.grounder.questions import load_questions
        from groundingme.train.sweep.grounder import SPLIT

        return load_questions(self.learner.data, SPLIT)

    def teach(
        self, after: Path, folder: Path, pages: Sequence[Page], order: NDArray[np.int64]
    ) -> None:
        """Goes on from the model of one folder, and keeps what comes of it in another.

        Args:
            after: Of the model before.
            folder: Of the model then.
            pages: Scenes with questions.
            order: Numbers of the questions of all pages, in the order in which they come up.
        """
        import torch

        from groundingme.train.grounder import export
        from groundingme.train.grounder.match_training import Desk
        from groundingme.train.sweep import lessons

        if (folder / "grounder.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        words = Nets().table.words
        desk = Desk(list(pages), None, {word: at for at, word in enumerate(words)}, 0.5, self.seed)
        net = lessons.prepared(len(words), SHAPE, self.seed)
        net.load_state_dict(torch.load(after / "match.pt"))
        lessons.train_mixture(net, desk, order, folder / "match.pt", lambda line: None)
        export.fill_match(self.learner.data / "graph.onnx", net, folder / "match.onnx")
        export.write_table(folder, words, {})


def checked(setting: Setting) -> None:
    """Whether the study can train here.

    Raises:
        UsageError: There is no training of that many seeds.
        MissingDependencyError: What training needs is not installed.
    """
    if setting.knobs["seeds"] < 1:
        raise UsageError(f"expected seeds of 1 or more, got {setting.knobs['seeds']}")
    School(out=setting.folder).learner.check([])


Kind = TypeVar("Kind", bound=School)


def schools(setting: Setting, kind: type[Kind]) -> list[Kind]:
    """One a seed; other options are other trainings, in other folders."""
    amounts = {one.name: setting.knobs[one.name] for one in KNOBS if one.name != "seeds"}
    name = "-".join(f"{key}-{value}" for key, value in sorted(amounts.items()))
    seeds = range(setting.seed, setting.seed + setting.knobs["seeds"])
    return [kind(out=setting.folder / "training" / name, seed=seed, **amounts) for seed in seeds]


def trained(folder: Path) -> Model:
    """The model of a folder."""
    return load_model(LEARNER, weights=str(folder))


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C in a training ends the study, as anywhere else."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


def drawn(setting: Setting) -> Dataset:
    """Scenes with their pictures in files, so that a dozen models do not wait for the drawing."""
    from groundingme.train.sweep import worlds

    if not setting.dataset.source.startswith("scenes"):
        return setting.dataset
    folder = setting.folder / "exam" / setting.dataset.fingerprint[7:19]
    if not (folder / worlds.DRAWN).exists():
        worlds.write_exam(setting.dataset, folder, workers=1)
    return load_dataset(str(folder))


# ---- figures over seeds


def seeds_told(count: int) -> list[str]:
    """Notes of a study with so many trainings."""
    return [
        f"Figures of trained models are means of {count} trainings; their intervals hold other "
        "images and other seeds."
    ] if count > 1 else []  # fmt: skip


def shared(columns: Sequence[Bools], clusters: Codes, among: Bools) -> Span:
    """Mean share of several trainings on the same samples, with images and seeds in its interval.

    Args:
        columns: Of each seed, shape `(N,)`.
        clusters: Shape `(N,)`: of `estimates.images`.
        among: Shape `(N,)`: the samples that count.
    """
    hits, keys = np.array(columns, np.float64)[:, among], clusters[among]
    if len(columns) == 1 or not hits.size:
        return share(hits[0], keys)
    # With each seed's answers as further ones on the same pictures, few hits stay exact.
    return _joined(share(hits.ravel(), np.tile(keys, len(hits))), hits.mean(axis=1), 0.0)


def gained(before: Sequence[Bools], after: Sequence[Bools], clusters: Codes, among: Bools) -> Gain:
    """What trainings have over others of the same seeds; p is by image, of the mean over seeds."""
    keys = clusters[among]
    was, now = (np.array(one, np.float64)[:, among] for one in (before, after))
    found = gain(was.mean(axis=0), now.mean(axis=0), keys)
    if len(was) == 1 or not was.size:
        return found
    return Gain(_joined(found.span, (now - was).mean(axis=1), -1.0), found.p)


def _joined(by_image: Span, seeds: NDArray[np.float64], least: float) -> Span:
    """The interval over images with Student's over seeds: the root of the sum of their squares."""
    from groundingme.train.sweep.reduction import spread

    around = spread(seeds)
    low = math.hypot(by_image.value - by_image.low, around)
    high = math.hypot(by_image.high - by_image.value, around)
    return Span(by_image.value, max(least, by_image.value - low), min(1.0, by_image.value + high))
