"""What is forgotten when rejection is taught kind by kind, and what does replay keep?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundingme import stats
from groundingme.datasets import Dataset, load_dataset
from groundingme.errors import UsageError
from groundingme.interrupting import Interrupted
from groundingme.models import load_model
from groundingme.report.svg import Axis, Span
from groundingme.result import Result
from groundingme.studies import STUDIES
from groundingme.studies.continual import KINDS, REPLAYS, Course
from groundingme.studies.estimates import Bools, Gain, gain, images, percent, points, right, share
from groundingme.studies.study import (
    Condition,
    Done,
    Knob,
    Lines,
    Outcome,
    Setting,
    Study,
    Table,
)
from groundingme.taxonomy import REJECTION
from groundingme.terminal import say

SHIPPED, UNTOUCHED = "shipped", "untouched"
LEARNER = "builtin/grounder"
GROUPS = ("positives", "general", "rejections")
"""Discriminative subtasks; Spatial and Limited ones; descriptions that match nothing."""

KNOBS = (
    Knob(name="batches", default=400, text="batches of 64 that the untouched model learns from"),
    Knob(name="size", default=640, text="questions of each step"),
    Knob(name="pages", default=600, text="scenes that are asked about in training"),
    Knob(name="drawn", default=100, text="of those, how many are drawn and read"),
)


def plan(setting: Setting) -> Sequence[Condition]:
    """The shipped model, which learned all at once, for comparison.

    Raises:
        UsageError: Another model than the built-in grounder.
        MissingDependencyError: What training needs is not installed.
    """
    if any(one != LEARNER for one in setting.models):
        raise UsageError(
            f"expected {LEARNER}, the one model that this study can train on any computer, got "
            f"{', '.join(map(str, setting.models))}; train others with `groundingme train`"
        )
    _course(setting).learner.check([])
    return [Condition(name=SHIPPED, model=LEARNER, dataset=setting.dataset)]


def _course(setting: Setting) -> Course:
    name = "-".join(f"{key}-{value}" for key, value in sorted(setting.knobs.items()))
    return Course(out=setting.folder / "training" / name, seed=setting.seed, **setting.knobs)


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """Trains what is not there yet; every model after every step."""
    course = _course(setting)
    dataset = _drawn(setting)
    try:
        say("training the untouched model", err=True)
        course.begin()
        found = [_condition(UNTOUCHED, course, REPLAYS[0], -1, dataset)]
        for replay in REPLAYS:
            for step in range(len(KINDS)):
                say(f"training with replay of {replay}, step {step + 1}", err=True)
                course.go_on(replay, step)
                found.append(_condition(_name(replay, step), course, replay, step, dataset))
    except KeyboardInterrupt:
        raise Interrupted from None
    return found


def _name(replay: str, step: int) -> str:
    return UNTOUCHED if step < 0 else f"replay of {replay}, step {step + 1}"


def _condition(name: str, course: Course, replay: str, step: int, dataset: Dataset) -> Condition:
    model = load_model(LEARNER, weights=str(course.folder(replay, step)))
    return Condition(name=name, model=model, dataset=dataset)


def _drawn(setting: Setting) -> Dataset:
    """Scenes with their pictures in files, so that a dozen models do not wait for the drawing."""
    from groundingme.train.sweep import worlds

    if not setting.dataset.source.startswith("scenes"):
        return setting.dataset
    folder = setting.folder / "exam" / setting.dataset.fingerprint[7:19]
    if not (folder / worlds.DRAWN).exists():
        worlds.write_exam(setting.dataset, folder, workers=1)
    return load_dataset(str(folder))


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


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Every group after every step, and what is lost in the end."""
    results = {one.condition.name: one.scored for one in done}
    masks = groups(results[UNTOUCHED])
    clusters = images(results[UNTOUCHED].samples)
    columns = (*GROUPS, *KINDS)

    def spans(name: str) -> dict[str, Span]:
        hits = right(results[name])
        return {group: share(hits[masks[group]], clusters[masks[group]]) for group in columns}

    steps = range(-1, len(KINDS))
    after = {(replay, step): spans(_name(replay, step)) for replay in REPLAYS for step in steps}
    rows: list[list[object]] = [["", SHIPPED, *spans(SHIPPED).values()],
                                ["", UNTOUCHED, *after[REPLAYS[0], -1].values()]]  # fmt: skip
    rows += [[replay, f"{step + 1}: {KINDS[step]}", *after[replay, step].values()]
             for replay in REPLAYS for step in steps if step >= 0]  # fmt: skip
    there = masks["positives"] | masks["general"]
    before = right(results[UNTOUCHED])[there]
    last = len(KINDS) - 1
    lost: dict[str, Gain] = {
        replay: gain(before, right(results[_name(replay, last)])[there], clusters[there])
        for replay in REPLAYS
    }
    corrected = stats.holm([one.p for one in lost.values()])
    faded = {replay: _faded(after, replay) for replay in REPLAYS}
    return Outcome(
        finding=_finding(after, lost, faded),
        tables=[
            Table(title="Right answers after every step",
                  columns=["replay", "after step", *columns], rows=rows,
                  note="positives: Discriminative; general: Spatial and Limited; then "
                  "descriptions that match nothing, all and by kind. shipped: the package's model, "
                  "larger and trained on all kinds at once."),
            Table(title="What the last model has lost and kept",
                  columns=["replay", "change of all positives, points", "p", "rejections",
                           "forgotten of earlier kinds, points"],
                  rows=[[replay, _points(one.span), float(p), after[replay, last]["rejections"],
                         percent(faded[replay])]
                        for (replay, one), p in zip(lost.items(), corrected, strict=True)],
                  note="p: paired by image against the untouched model, Holm over the rows. "
                  "Forgotten: from the step that taught a kind to the later one after which it is "
                  "lowest, the mean of all kinds but the last. Who rejects everything forgets no "
                  "rejection."),
        ],
        figures=[_figure(after, "positives", "Positives after every step"),
                 _figure(after, "general", "General grounding after every step"),
                 _figure(after, "rejections", "Rejections after every step")],
        values={
            "after": {f"{replay}, {step + 1}": found for (replay, step), found in after.items()},
            "lost": {replay: one.span for replay, one in lost.items()},
            "faded": faded,
        },
    )  # fmt: skip


After = Mapping[tuple[str, int], Mapping[str, Span]]


def _faded(after: After, replay: str) -> float:
    """Mean drop of the kinds from their own step to the later one after which they are lowest."""
    drops = [
        after[replay, step][kind].value
        - min(after[replay, later][kind].value for later in range(step + 1, len(KINDS)))
        for step, kind in enumerate(KINDS[:-1])
    ]
    known = [one for one in drops if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")


def _points(one: Span) -> str:
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _figure(after: After, group: str, title: str) -> Lines:
    series = {
        f"replay of {replay}": [
            (float(step + 1), points(after[replay, step][group])) for step in range(-1, len(KINDS))
        ]
        for replay in REPLAYS
    }
    labels = ("untouched", *(f"+{kind}" for kind in KINDS))
    x = Axis(low=0, high=len(KINDS) + 0.3, ticks=range(len(KINDS) + 1), labels=labels)
    y = Axis(low=0, high=100, ticks=(0, 20, 40, 60, 80, 100), title="right, %")
    return Lines(title=title, text="Each step teaches rejections of one more kind.",
                 series=series, x=x, y=y)  # fmt: skip


def _finding(after: After, lost: Mapping[str, Gain], faded: Mapping[str, float]) -> str:
    last = len(KINDS) - 1

    def end(replay: str) -> str:
        rejections = percent(after[replay, last]["rejections"].value)
        return f"{_points(lost[replay].span)} points of all positives, {rejections} % of rejections"

    bare, kept, whole = REPLAYS
    return (
        f"Four steps of rejections without replay end at {end(bare)}; with half positives in each "
        f"step at {end(kept)}; with earlier kinds too at {end(whole)}. "
        f"A kind loses {percent(faded[kept])} points in a later step without its own replay, and "
        f"{percent(faded[whole])} with it."
    )


STUDIES.register(
    "forgetting",
    Study(
        name="forgetting",
        question="What is forgotten when rejection is taught kind by kind, and does replay help?",
        needs="pip install 'groundingme[train]'; trains thirteen small models in some minutes of "
        "one core, each asked once; one data set of scenes",
        models=(LEARNER,),
        data=("scenes:seed=11,n=160,rejections=0.4",),
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=KNOBS,
    ),
)
