"""A learner for GPUs: a model of the Hub, or in a folder, tuned on mixtures of data sets.

Mixtures are those of `groundingme mix`, trainings those of `groundingme train`; a seed decides on
the order of a mixture, the adapter's first weights and the batches. The untouched model is the base
itself, the same for every seed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from groundingme.errors import MissingDependencyError, UsageError
from groundingme.interrupting import Interrupted
from groundingme.terminal import say
from groundingme.train.mixing import Ratio, parse_ratios
from groundingme.train.sweep.plan import DOMAINS, Domain, Exam, Job, model_folder, name_of

EXAMS: dict[Domain, tuple[str, ...]] = {
    "in-domain": ("refcocog@val", "refcocog_rej@val"),
    "out-of-domain": ("groundingme",),
}
"""The paper's; a data set's split stands behind an @."""


def exams(domain: Domain, texts: Sequence[str], limit: int | None) -> list[Exam]:
    """Data sets of one domain, as people name them: `DATA` or `DATA@SPLIT`."""
    found = []
    for text in texts:
        data, _, split = text.partition("@")
        found.append(Exam(domain=domain, data=data, split=split or None, limit=limit))
    return found


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """See `plan.Learner`.

    Attributes:
        base: Hub id or folder.
        out: Folder of the sweep.
        positives: Data set; its rejections are left out.
        negatives: Data set, maybe the same; its positives are left out.
        split: Of both.
        negatives_split: Of the negatives, where it is another.
        total: Samples of each mixture; None for as many as every ratio can have.
        options: As `tuning.options.TuneOptions` takes them; their `seed` is the sweep's.
        asked: What models are asked.
        max_tokens: Of a reply.
    """

    base: str
    out: Path
    positives: str
    negatives: str
    split: str | None = None
    negatives_split: str | None = None
    total: int | None = None
    options: dict[str, Any] = {}
    asked: list[Exam] = []
    max_tokens: int = 512

    parallel = False

    @property
    def name(self) -> str:
        """See `plan.Learner`."""
        return f"transformers/{self.base}"

    def about(self) -> dict[str, Any]:
        """See `plan.Learner`."""
        told = msgspec.structs.asdict(self)
        del told["out"], told["max_tokens"]
        return {"learner": "tuned", **msgspec.to_builtins(told)}

    def check(self, ratios: Sequence[Ratio]) -> None:
        """See `plan.Learner`."""
        for package in ("torch", "transformers", "trl", "peft", "datasets"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"expected {package} to tune {self.base}, got none; "
                    "pip install 'groundingme[train]'"
                )
        if any(not one.negatives or not one.positives for one in ratios):
            raise UsageError("expected ratios with both kinds to tune on, got one with 0")

    def jobs(self, ratios: Sequence[Ratio], seeds: Iterable[int]) -> list[list[Job]]:
        """See `plan.Learner`."""
        chosen = list(seeds)
        names = ",".join(name_of(one) for one in ratios)
        mixtures: list[Job] = [("mix", str(seed), names) for seed in chosen]
        trainings: list[Job] = [
            ("train", str(seed), name_of(one)) for seed in chosen for one in ratios
        ]
        return [mixtures, trainings]

    def done(self, job: Job) -> bool:
        """See `plan.Learner`."""
        kind, seed, names = job
        if kind == "mix":
            return all(
                (self._mixture(int(seed), one) / "manifest.json").exists()
                for one in parse_ratios(names)
            )
        return (self._model(_ratio(names), int(seed)) / "training.json").exists()

    def _mixture(self, seed: int, ratio: Ratio) -> Path:
        return self.out / "mixtures" / f"seed{seed}" / ratio.name

    def _model(self, ratio: Ratio, seed: int) -> Path:
        return model_folder(self.out, ratio, seed)

    def do(self, job: Job) -> None:
        """See `plan.Learner`."""
        kind, seed, names = job
        if kind == "mix":
            self._mix(int(seed), names)
        else:
            self._train(int(seed), _ratio(names))

    def _mix(self, seed: int, names: str) -> None:
        from groundingme.datasets import load_dataset
        from groundingme.train.mixing import mix
        from groundingme.train.tuning.base import open_base

        apart = [load_dataset(one.data, split=one.split) for one in self.asked]
        mix(
            self.positives, self.negatives, out=self.out / "mixtures" / f"seed{seed}",
            ratios=names, total=self.total, seed=seed,
            family=open_base(self.base, self._options(seed)).family.name, apart=apart,
            split=self.split, negatives_split=self.negatives_split, tell=_tell,
        )  # fmt: skip

    def _train(self, seed: int, ratio: Ratio) -> None:
        from groundingme.train.tuning import plans, running

        folder = self._model(ratio, seed)
        plan = plans.plan(self.base, self._mixture(seed, ratio), self._options(seed))
        if running.run(plan, folder, say=_tell).state == "interrupted":
            raise Interrupted

    def _options(self, seed: int) -> Any:
        from groundingme.train.tuning.options import load_options

        return load_options(given={**self.options, "seed": seed})

    def model(self, ratio: Ratio | None, seed: int) -> tuple[str, dict[str, Any]]:
        """See `plan.Learner`."""
        name = f"transformers/{self._model(ratio, seed)}" if ratio else self.name
        return name, {"max_tokens": self.max_tokens, "coords": self._coords()}

    def _coords(self) -> str:
        """The format in which the mixtures' answers are written; a folder's name may not say it."""
        from groundingme.train.mixture import load_mixture

        written = sorted((self.out / "mixtures").glob("*/*/manifest.json"))
        return load_mixture(written[0].parent, look=False).convention.coords

    def exams(self) -> list[Exam]:
        """See `plan.Learner`."""
        return sorted(self.asked, key=lambda one: DOMAINS.index(one.domain))


def _ratio(name: str) -> Ratio:
    return parse_ratios(name)[0]


def _tell(line: str) -> None:
    say(line, err=True)
