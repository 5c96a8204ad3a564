"""The nouns of a study: what is run, under which setting, and what comes of it.

setting -> plan -> conditions -> (asked by `running`) -> replies -> reduce -> outcome
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.models import Model
from groundingme.report.svg import Axis, Span
from groundingme.result import Result
from groundingme.schema import Sample


def label(model: str | Model) -> str:
    """Name of a model, however it was given."""
    return model if isinstance(model, str) else model.name


def subtask(sample: Sample) -> str:
    """Name of a sample's subtask, such as `Spatial/Counting`; "" where none is named."""
    return f"{sample.subtask_l1}/{sample.subtask_l2}".strip("/")


class Knob(msgspec.Struct, frozen=True):
    """An option that one study has and others have not.

    Attributes:
        name: As `--set NAME=VALUE` takes it.
        default: Its type is the option's: bool, int, float or str.
        text: What it does, in a line.
    """

    name: str
    default: bool | int | float | str
    text: str

    def read(self, text: str) -> bool | int | float | str:
        """The value that a text says.

        Raises:
            UsageError: It says none of that type.
        """
        kind = type(self.default)
        try:
            if kind is bool:
                return {"true": True, "false": False}[text.lower()]
            return kind(text)
        except (KeyError, ValueError):
            raise UsageError(
                f"expected {self.name} as {kind.__name__}, got {text!r}; {self.text}"
            ) from None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a study is run on.

    Attributes:
        models: `PROVIDER/NAME`, or models made by `load_model`; one or more.
        datasets: One or more; most studies take one.
        folder: Of the study: `runs/` holds its run folders.
        knobs: The study's own options by name, all of them.
        asking: Further arguments of `evaluate`, the same for every condition: where the model is,
            how fast it may be asked.
        seed: Of everything drawn.
    """

    models: Sequence[str | Model]
    datasets: Sequence[Dataset]
    folder: Path
    knobs: Mapping[str, Any] = {}
    asking: Mapping[str, Any] = {}
    seed: int = 0

    @property
    def dataset(self) -> Dataset:
        """The first data set."""
        return self.datasets[0]

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.folder / "runs"

    @property
    def labels(self) -> list[str]:
        """Names of the models."""
        return [label(one) for one in self.models]

    def named(self, name: str) -> str | Model:
        """The model of a name; the name itself where none of these has it."""
        return {label(one): one for one in self.models}.get(name, name)

    def listed(self, knob: str) -> list[str]:
        """What an option names, with commas between."""
        return [one.strip() for one in str(self.knobs[knob]).split(",") if one.strip()]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One run that a study needs.

    Attributes:
        name: Unlike all others of its model, such as `flipped`.
        model: One of the setting's, or another.
        dataset: What is asked. Where a condition changes images, its samples' ids say so, since
            a run is known by ids, descriptions, targets and sizes.
        settings: Further arguments of `evaluate`: `prompt`, `coords`, `thinking`, ...
        n: Trajectories of each sample; above 1 they are sampled, and `settings` are `sample`'s.
    """

    name: str
    model: str | Model
    dataset: Dataset
    settings: Mapping[str, Any] = {}
    n: int = 1

    @property
    def label(self) -> str:
        """Name of the model."""
        return label(self.model)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that was run.

    Attributes:
        condition: Which.
        path: The run folder.
        result: Scores; None where several trajectories were sampled, whose folder
            `scale.selection.load_sample_run` reads.
    """

    condition: Condition
    path: Path
    result: Result | None = None

    @property
    def scored(self) -> Result:
        """The result of a condition with one reply a sample."""
        assert self.result is not None
        return self.result


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Figures in rows.

    Attributes:
        title: What it shows.
        columns: Headings.
        rows: Cells: text, numbers, or `Span` in [0, 1], which is shown in percent.
        note: What a reader has to know.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


class Dots(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of points with intervals: names from top to bottom, values across.

    Attributes:
        title: What it shows.
        text: How to read it.
        rows: Names.
        series: One `Span` a row by name of the series, in the axis' unit.
        x: Axis of the values.
    """

    title: str
    text: str
    rows: Sequence[str]
    series: Mapping[str, Sequence[Span]]
    x: Axis


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of lines.

    Attributes:
        title: What it shows.
        text: How to read it.
        series: Points `(x, Span)` from left to right by name of the line, in the axes' units.
        x: Horizontal axis.
        y: Vertical axis.
        diagonal: Whether the line is drawn on which x is y.
    """

    title: str
    text: str
    series: Mapping[str, Sequence[tuple[float, Span]]]
    x: Axis
    y: Axis
    diagonal: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a study found.

    Attributes:
        finding: Two sentences for people, made from the figures.
        tables: The figures.
        figures: The first is the study's figure.
        values: Figures for programs, by name.
        notes: What a reader should not miss.
        subject: What was studied, in a sentence, where it is not the setting's models on its data.
    """

    finding: str
    tables: Sequence[Table]
    figures: Sequence[Dots | Lines] = ()
    values: Mapping[str, Any] = {}
    notes: Sequence[str] = ()
    subject: str = ""


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """One question and how it is answered.

    Attributes:
        name: As the command takes it.
        question: What it answers, in one sentence.
        needs: What it takes: models, data, time.
        models: Of the demonstration, offline: by default one that rejects and one that never does.
        data: Of the demonstration, offline.
        plan: Conditions to run. Deterministic: the same setting gives the same conditions.
        reduce: Figures from the runs, in the order of the plan. What it asks of a model beyond
            them goes through the engine too, into the setting's folder.
        knobs: Its own options.
        least: Fewest models.
        then: Conditions that depend on what was answered, run before the reduction and given to it
            behind the planned ones. Deterministic likewise; None where there are none.
    """

    name: str
    question: str
    needs: str
    models: Sequence[str] = ("builtin/grounder", "builtin/grounder-positive-only")
    data: Sequence[str] = ("scenes:seed=11,n=240",)
    plan: Callable[[Setting], Sequence[Condition]]
    reduce: Callable[[Setting, Sequence[Done]], Outcome]
    knobs: Sequence[Knob] = ()
    least: int = 1
    then: Callable[[Setting, Sequence[Done]], Sequence[Condition]] | None = None
