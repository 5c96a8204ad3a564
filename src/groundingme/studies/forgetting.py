"""What is forgotten when rejection is taught kind by kind, and what does replay keep?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundingme.errors import UsageError
from groundingme.report.svg import Axis, Span
from groundingme.studies import STUDIES, learning
from groundingme.studies.continual import GROUPS, KINDS, REPLAYS, After, Course, faded, groups
from groundingme.studies.estimates import Answers, Bools, Gain, corrected, percent, signed
from groundingme.studies.figures import lines
from groundingme.studies.learning import LEARNER
from groundingme.studies.study import Condition, Done, Lines, Outcome, Setting, Study, Table

SHIPPED, UNTOUCHED = "shipped", "untouched"
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
    learning.checked(setting)
    return [Condition(name=SHIPPED, model=LEARNER, dataset=setting.dataset)]


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """Trains what is not there yet; every model after every step."""
    dataset = learning.drawn(setting)
    with learning.stoppable():
        return [
            Condition(name=_name(*one, course.seed - setting.seed),
                      model=learning.trained(course.after(*one)), dataset=dataset)
            for course in learning.schools(setting, Course) for one in course.learn()
        ]  # fmt: skip


def _name(replay: str, step: int, number: int = 0) -> str:
    """Of a condition; of the first seed's no number is told."""
    name = UNTOUCHED if step < 0 else f"replay of {replay}, step {step + 1}"
    return f"{name}, seed {number + 1}" if number else name


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Every group after every step, and what is lost in the end."""
    answers = {one.condition.name: Answers(one) for one in done}
    untouched = answers[UNTOUCHED]
    masks, clusters = groups(untouched.result), untouched.clusters
    count = sum(name.startswith(UNTOUCHED) for name in answers)

    def columns(replay: str, step: int) -> list[Bools]:
        return [answers[_name(replay, step, number)].right for number in range(count)]

    def spans(right: Sequence[Bools]) -> dict[str, Span]:
        return {name: learning.shared(right, clusters, mask) for name, mask in masks.items()}

    after = {(replay, step): spans(columns(replay, step))
             for replay in REPLAYS for step in range(-1, len(KINDS))}  # fmt: skip
    there = masks["positives"] | masks["general"]
    lost = {
        replay: learning.gained(columns(replay, -1), columns(replay, LAST), clusters, there)
        for replay in REPLAYS
    }
    drops = {replay: faded(after, replay) for replay in REPLAYS}
    return Outcome(
        finding=_finding(after, lost, drops),
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
                         percent(drops[replay])] for replay, one in corrected(lost).items()],
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
            "faded": drops,
        },
        notes=learning.seeds_told(count),
    )  # fmt: skip


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


def _finding(after: After, lost: Mapping[str, Gain], drops: Mapping[str, float]) -> str:
    def end(replay: str) -> str:
        rejections = percent(after[replay, LAST]["rejections"].value)
        return f"{signed(lost[replay].span)} points of all positives, {rejections} % of rejections"

    bare, kept, whole = REPLAYS
    return (
        f"Four steps of rejections without replay end at {end(bare)}; with half positives in each "
        f"step at {end(kept)}; with earlier kinds too at {end(whole)}. "
        f"A kind loses {percent(drops[kept])} points in a later step without its own replay, and "
        f"{percent(drops[whole])} with it."
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
        knobs=learning.KNOBS,
    ),
)
