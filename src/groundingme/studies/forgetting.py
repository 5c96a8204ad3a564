"""What is forgotten when rejection is taught kind by kind, and what does replay keep?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundingme.errors import UsageError
from groundingme.report.svg import Axis, Span
from groundingme.result import Result
from groundingme.studies import STUDIES
from groundingme.studies.continual import KINDS, REPLAYS, Course
from groundingme.studies.estimates import Answers, Bools, Gain, corrected, percent, signed
from groundingme.studies.figures import lines
from groundingme.studies.learning import (
    KNOBS,
    LEARNER,
    checked,
    drawn,
    gained,
    schools,
    seeds_told,
    shared,
    stoppable,
    trained,
)
from groundingme.studies.study import Condition, Done, Lines, Outcome, Setting, Study, Table
from groundingme.taxonomy import REJECTION
from groundingme.terminal import say

SHIPPED, UNTOUCHED = "shipped", "untouched"
GROUPS = ("positives", "general", "rejections")
"""Discriminative subtasks; Spatial and Limited ones; descriptions that match nothing."""
LAST = len(KINDS) - 1


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
    checked(setting)
    return [Condition(name=SHIPPED, model=LEARNER, dataset=setting.dataset)]


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """Trains what is not there yet; every model after every step."""
    dataset = drawn(setting)
    found = []
    with stoppable():
        for course in schools(setting, Course):
            seed = course.seed
            say(f"seed {seed}: training the untouched model", err=True)
            course.begin()
            steps = [(REPLAYS[0], -1)]
            for replay in REPLAYS:
                for step in range(len(KINDS)):
                    say(f"seed {seed}: training with replay of {replay}, step {step + 1}", err=True)
                    course.go_on(replay, step)
                    steps.append((replay, step))
            found += [
                Condition(name=_name(*one, course.seed - setting.seed),
                          model=trained(course.after(*one)), dataset=dataset)
                for one in steps
            ]  # fmt: skip
    return found


def _name(replay: str, step: int, number: int = 0) -> str:
    """Of a condition; of the first seed's no number is told."""
    name = UNTOUCHED if step < 0 else f"replay of {replay}, step {step + 1}"
    return f"{name}, seed {number + 1}" if number else name


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
    answers = {one.condition.name: Answers(one) for one in done}
    untouched = answers[UNTOUCHED]
    masks, clusters = groups(untouched.result), untouched.clusters
    count = sum(name.startswith(UNTOUCHED) for name in answers)

    def columns(replay: str, step: int) -> list[Bools]:
        return [answers[_name(replay, step, number)].right for number in range(count)]

    def spans(right: Sequence[Bools]) -> dict[str, Span]:
        return {group: shared(right, clusters, masks[group]) for group in (*GROUPS, *KINDS)}

    after = {(replay, step): spans(columns(replay, step))
             for replay in REPLAYS for step in range(-1, len(KINDS))}  # fmt: skip
    there = masks["positives"] | masks["general"]
    lost = {
        replay: gained(columns(replay, -1), columns(replay, LAST), clusters, there)
        for replay in REPLAYS
    }
    faded = {replay: _faded(after, replay) for replay in REPLAYS}
    return Outcome(
        finding=_finding(after, lost, faded),
        tables=[
            Table(title="Right answers after every step",
                  columns=["replay", "after step", *GROUPS, *KINDS],
                  rows=[["", SHIPPED, *spans([answers[SHIPPED].right]).values()],
                        *([replay if step >= 0 else "",
                           f"{step + 1}: {KINDS[step]}" if step >= 0 else UNTOUCHED,
                           *found.values()]
                          for (replay, step), found in after.items()
                          if step >= 0 or replay == REPLAYS[0])],
                  note="positives: Discriminative; general: Spatial and Limited; then "
                  "descriptions that match nothing, all and by kind. shipped: the package's model, "
                  "larger and trained on all kinds at once."),
            Table(title="What the last model has lost and kept",
                  columns=["replay", "change of all positives, points", "p", "rejections",
                           "forgotten of earlier kinds, points"],
                  rows=[[replay, signed(one.span), one.p, after[replay, LAST]["rejections"],
                         percent(faded[replay])] for replay, one in corrected(lost).items()],
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
        notes=seeds_told(count),
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


def _figure(after: After, group: str, title: str) -> Lines:
    series = {
        f"replay of {replay}": {
            step + 1: after[replay, step][group] for step in range(-1, len(KINDS))
        }
        for replay in REPLAYS
    }
    labels = ("untouched", *(f"+{kind}" for kind in KINDS))
    x = Axis(low=0, high=len(KINDS) + 0.3, ticks=range(len(KINDS) + 1), labels=labels)
    return lines(title, "Each step teaches rejections of one more kind.", series, x)


def _finding(after: After, lost: Mapping[str, Gain], faded: Mapping[str, float]) -> str:
    def end(replay: str) -> str:
        rejections = percent(after[replay, LAST]["rejections"].value)
        return f"{signed(lost[replay].span)} points of all positives, {rejections} % of rejections"

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
        needs="pip install 'groundingme[train]'; trains thirteen small models a seed in some "
        "minutes of one core, each asked once; one data set of scenes",
        models=(LEARNER,),
        data=("scenes:seed=11,n=160,rejections=0.4",),
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=KNOBS,
    ),
)
