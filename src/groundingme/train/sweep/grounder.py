"""A learner for every computer: the matcher of the built-in grounder, on drawn scenes.

The nets that see are the package's own and stay as they are. For each seed one matcher learns from
descriptions of something that is there, some simulated, some as the other nets read them off drawn
scenes: it is the untouched model. Each mixture goes on from it with as many examples, in batches
of the same seed, and differs in its share of rejections alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from groundingme.errors import MissingDependencyError
from groundingme.models.builtin.nets import WEIGHTS, Nets
from groundingme.train.grounder import stages
from groundingme.train.grounder.questions import load_questions, make_questions
from groundingme.train.mixing import Ratio, parse_ratios
from groundingme.train.sweep import worlds
from groundingme.train.sweep.plan import DOMAINS, Exam, Job, model_folder, name_of

if TYPE_CHECKING:
    from groundingme.train.grounder.match import Match
    from groundingme.train.grounder.match_training import Desk

SPLIT = "train"
"""Seeds of the scenes, as in the recipe; no data set draws from them."""

SHARD = 50


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything.

    Attributes:
        drawn: Scenes that are drawn and read.
        pages: Scenes that are asked about, of which the first are the drawn ones.
        questions: Of each of them, for the untouched model.
        steps: Batches of 64 of the untouched model.
        mixture: Questions in a mixture.
        epochs: How often a mixture is gone through.
        positives: Of the exam in domain. So is `rejections`.
        rejections: See `positives`.
        shifted: Samples of the exam out of domain.
        large: Of those, how many have pictures of 7680 x 4320.
        shape: Of the matcher, where it is not the shipped one's.
    """

    drawn: int = 1500
    pages: int = 4000
    questions: int = 12
    steps: int = 640
    mixture: int = 3240
    epochs: int = 3
    positives: int = 400
    rejections: int = 200
    shifted: int = 804
    large: int = 24
    shape: dict[str, int] = {}


QUICK = Amount(
    drawn=100, pages=150, steps=80, mixture=216, epochs=5, positives=24, rejections=12, shifted=36,
    large=0, shape={"width": 32, "rounds": 2, "heads": 4, "inner": 32},
)  # fmt: skip
"""Enough to see that all of it works; its figures mean nothing."""


class Grounder(msgspec.Struct, frozen=True):
    """See `plan.Learner`.

    Attributes:
        out: Folder of the sweep.
        amount: Of everything.
    """

    out: Path
    amount: Amount = Amount()

    name = "builtin/grounder"
    parallel = True

    @property
    def data(self) -> Path:
        """Folder of scenes, questions and readings."""
        return self.out / "data"

    def about(self) -> dict[str, Any]:
        """See `plan.Learner`."""
        amount: dict[str, Any] = msgspec.to_builtins(self.amount)
        return {"learner": self.name, "eyes": Nets().eyes, **amount}

    def check(self, ratios: Sequence[Ratio]) -> None:
        """See `plan.Learner`."""
        for package in ("torch", "onnx", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"expected {package} to train, got none; pip install 'groundingme[train]'"
                )

    def jobs(self, ratios: Sequence[Ratio], seeds: Iterable[int]) -> list[list[Job]]:
        """See `plan.Learner`."""
        first: list[Job] = [("exam", domain) for domain in reversed(DOMAINS)]
        first.append(("graph",))
        drawn, pages = (-(-count // SHARD) for count in (self.amount.drawn, self.amount.pages))
        first += [("scenes", str(shard)) for shard in range(drawn)]
        first += [("questions", str(shard)) for shard in range(drawn, pages)]
        chosen = list(seeds)
        # By seed, so that whoever takes a mixture finds its untouched model there as a rule.
        models: list[Job] = [("untouched", str(seed)) for seed in chosen]
        models += [("mixture", str(seed), name_of(one)) for seed in chosen for one in ratios]
        return [first, models]

    def done(self, job: Job) -> bool:
        """See `plan.Learner`."""
        return self._result(job).exists()

    def _result(self, job: Job) -> Path:
        match job:
            case ("exam", domain):
                return self._exam(domain) / worlds.DRAWN
            case ("graph",):
                return self.data / "graph.onnx"
            case ("scenes", shard):
                return self.data / f"{SPLIT}.{int(shard):04d}.readings.npz"
            case ("questions", shard):
                return self.data / f"{SPLIT}.{int(shard):04d}.pages"
            case ("untouched", seed):
                return model_folder(self.out, None, int(seed)) / "grounder.json"
            case ("mixture", seed, name):
                return model_folder(self.out, _ratio(name), int(seed)) / "grounder.json"
        raise ValueError(f"expected a job of this learner, got {job}")

    def do(self, job: Job) -> None:
        """See `plan.Learner`."""
        if self.done(job):
            return
        self.data.mkdir(parents=True, exist_ok=True)
        match job:
            case ("exam", domain):
                self._write_exam(domain)
            case ("graph",):
                self._write_graph()
            case ("scenes", shard):
                worlds.make_short(self.data, SPLIT, int(shard), SHARD)
                self._questions(int(shard))
                stages.make_readings(self.data, WEIGHTS, SPLIT, int(shard))
            case ("questions", shard):
                self._questions(int(shard))
            case ("untouched", seed):
                self._untouched(int(seed))
            case ("mixture", seed, name):
                self._mixture(int(seed), _ratio(name))

    def model(self, ratio: Ratio | None, seed: int) -> tuple[str, dict[str, Any]]:
        """See `plan.Learner`."""
        return self.name, {"weights": str(model_folder(self.out, ratio, seed))}

    def exams(self) -> list[Exam]:
        """See `plan.Learner`."""
        return [Exam(domain=domain, data=str(self._exam(domain))) for domain in DOMAINS]

    # ---- what there is to do

    def _exam(self, domain: str) -> Path:
        return self.out / "exams" / domain

    def _write_exam(self, domain: str) -> None:
        amount = self.amount
        if domain == "in-domain":
            dataset = worlds.in_domain(amount.positives, amount.rejections)
        else:
            dataset = worlds.out_of_domain(amount.shifted, amount.large)
        worlds.write_exam(dataset, self._exam(domain), workers=1)

    def _questions(self, shard: int) -> None:
        make_questions(self.data, SPLIT, shard, SHARD, self.amount.questions)

    def _write_graph(self) -> None:
        from groundingme.train.grounder import export

        path = self._result(("graph",))
        fresh = path.with_suffix(".new")
        export.export_match_graph(self._net(0), fresh)
        fresh.replace(path)

    def _net(self, seed: int) -> Match:
        from groundingme.train.sweep import lessons

        return lessons.prepared(len(self._words()), self.amount.shape, seed)

    def _words(self) -> list[str]:
        return Nets().table.words

    def _desks(self, split: str, negatives: float, seed: int) -> list[Desk]:
        """Questions on drawn scenes; those of `SPLIT` also on scenes whose reading is simulated."""
        from groundingme.train.grounder.match_training import Desk

        numbers = {word: number for number, word in enumerate(self._words())}
        pages = load_questions(self.data, split)
        readings = stages.load_readings(self.data, SPLIT)
        found = [Desk(pages[: len(readings)], readings, numbers, negatives, seed)]
        if len(pages) > len(readings):
            found.append(Desk(pages[len(readings) :], None, numbers, negatives, seed))
        return found

    def _untouched(self, seed: int) -> None:
        from filelock import FileLock

        from groundingme.train.sweep import lessons

        folder = model_folder(self.out, None, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if self.done(("untouched", str(seed))):
                return
            net = self._net(seed)
            desks = self._desks(SPLIT, 0.0, seed)
            path = folder / "match.pt"
            say = _telling(None, seed)
            lessons.train_base(net, desks, path, steps=self.amount.steps, say=say)
            self._write(net, folder)

    def _mixture(self, seed: int, ratio: Ratio) -> None:
        import torch

        from groundingme.train.sweep import lessons

        # Somebody else may be at it: then this waits.
        self._untouched(seed)
        folder = model_folder(self.out, ratio, seed)
        folder.mkdir(parents=True, exist_ok=True)
        net = self._net(seed)
        net.load_state_dict(torch.load(model_folder(self.out, None, seed) / "match.pt"))
        (desk,) = self._desks("short", 0.5, seed)
        mixture = lessons.mixed(desk.targets, ratio, self.amount.mixture, seed)
        order = lessons.epochs(mixture, self.amount.epochs, seed)
        lessons.train_mixture(net, desk, order, folder / "match.pt", _telling(ratio, seed))
        self._write(net, folder)

    def _write(self, net: Match, folder: Path) -> None:
        from groundingme.train.grounder import export

        export.fill_match(self._result(("graph",)), net, folder / "match.onnx")
        export.write_table(folder, self._words(), {})


def _telling(ratio: Ratio | None, seed: int) -> Callable[[str], None]:
    from groundingme.terminal import say

    def tell(line: str) -> None:
        # The training names its file; a person wants to know which model.
        say(f"{name_of(ratio)}, seed {seed}: {line.partition(' ')[2].strip()}", err=True)

    return tell


def _ratio(name: str) -> Ratio:
    return parse_ratios(name)[0]
