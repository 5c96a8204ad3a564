"""How the design of negatives drives rejection: kind, source, number of changed words, picture.

A negative that was made from a true description has a twin: the description itself. A model that
rejects the one and not the other has seen the change; one that rejects both has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundingme.report.svg import Span
from groundingme.studies import STUDIES, designs, learning, teaching
from groundingme.studies.conditions import by_model, everyone
from groundingme.studies.designs import designs_of, own, questions
from groundingme.studies.estimates import Gain, Shares, images, percent, signed, turned
from groundingme.studies.figures import dots, percents
from groundingme.studies.rejecting import Asked, designs_in, sizes_of, text_alone
from groundingme.studies.study import Condition, Done, Knob, Outcome, Setting, Study, Table
from groundingme.studies.taught import TRUE, learned

FEW = 10
"""Negatives of a design below which the finding does not speak of it."""


def plan(setting: Setting) -> Sequence[Condition]:
    """The data as it is, and every source of negatives, for every model."""
    made = designs.checked(setting)
    if setting.knobs["train"]:
        learning.checked(setting)
    return everyone(setting, questions(setting.dataset, made))


def then(setting: Setting, done: Sequence[Done]) -> Sequence[Condition]:
    """The learner after lessons with negatives of each design, where that is wanted."""
    if not setting.knobs["train"]:
        return []
    return teaching.lessons(setting, designs_of(setting)[0])


def reduce(setting: Setting, done: Sequence[Done]) -> Outcome:
    """Rejection by design, against the twins and by size, and what the text alone gives away."""
    made, dropped = designs_of(setting)
    negatives = [*own(setting.dataset), *(one for rows in made.values() for one in rows)]
    where = images([one.sample for one in negatives])
    planned = done[: len(setting.models) * (len(made) + 1)]
    asked = {model: Asked(negatives, mine.values()) for model, mine in by_model(planned).items()}
    lessons = learned(done[len(planned) :], negatives, made)
    kinds, sizes = designs_in(negatives), sizes_of(negatives)
    counts = {name: int(mask.sum()) for name, mask in (kinds | sizes).items()}
    counts[TRUE] = sum(bool(one.target) for one in setting.dataset)
    rejected = {model: one.shares(kinds, where) for model, one in asked.items()}
    by_size = {model: one.shares(sizes, where) for model, one in asked.items()}
    falsely = {model: one.falsely for model, one in asked.items()}
    everything = {model: {**row, TRUE: falsely[model]} for model, row in rejected.items()}
    twins = {model: one.gains(kinds, where) for model, one in asked.items()}
    floors = text_alone(setting.dataset, negatives)
    return Outcome(
        finding=_finding(rejected, twins, falsely, counts)
        + (f" {lessons.finding}" if lessons else ""),
        tables=[
            Table(title="Rejected, by how the negative was made",
                  columns=["design", "negatives", *asked],
                  rows=[[name, counts[name], *row.values()]
                        for name, row in turned(everything).items()]),
            Table(title="More rejections than of the true description it was made from, in points",
                  columns=["design", *(f"{model}{end}" for model in asked for end in ("", ": p"))],
                  rows=[[name, *(cell for found in twins.values()
                                 for cell in (signed(found[name].span), found[name].p))]
                        for name in kinds if all(name in found for found in twins.values())],
                  note="Paired by description, p by Holm over the designs of a model. A model that "
                  "rejects both has not seen the change."),
            Table(title="Rejected, by how much was changed",
                  columns=["changed", "negatives", *asked],
                  rows=[[name, counts[name], *row.values()]
                        for name, row in turned(by_size).items()],
                  note="Only negatives whose true description is known, in its own picture."),
            Table(title="What the text alone gives away",
                  columns=["source", "AUROC"], rows=[[*one] for one in floors.items()],
                  note="How well a classifier that sees no picture tells the negatives of a source "
                  "from the true descriptions; 0.5 is nothing. Above it, rejection can be learned "
                  "without looking."),
            *([lessons.table] if lessons else []),
        ],
        figures=[dots("Rejected, by how the negative was made",
                      "True descriptions are to be accepted, all others to be rejected.",
                      everything, percents("rejected, %")),
                 *([lessons.figure] if lessons else [])],
        values={
            "rejected": rejected, "falsely": falsely,
            "against_twins": {model: {name: one.span for name, one in found.items()}
                              for model, found in twins.items()},
            "counts": {name: counts[name] for name in kinds},
            "dropped": dropped, "text_alone": floors,
            "order": {name: _order(rejected, name) for name in kinds},
            **({"taught": lessons.shares} if lessons else {}),
        },
        notes=["Negatives by rules are checked against what the data set knows of the picture, and "
               "where that is not all of it some may be true of something there.",
               *learning.seeds_told(lessons.seeds if lessons else 0)],
    )  # fmt: skip


def _order(rejected: Shares, name: str) -> list[str]:
    """The models by what they reject of a design, the most first."""
    return sorted(rejected, key=lambda model: -rejected[model][name].value)


def _finding(
    rejected: Shares,
    twins: Mapping[str, Mapping[str, Gain]],
    falsely: Mapping[str, Span],
    counts: Mapping[str, int],
) -> str:
    first, mine = next(iter(rejected.items()))
    enough = [name for name in mine if counts[name] >= FEW] or list(mine)
    most, least = (pick(enough, key=lambda name: mine[name].value) for pick in (max, min))
    told = (
        f"{first} rejects {percent(mine[most].value)} % of the negatives {most!r} and "
        f"{percent(mine[least].value)} % of {least!r}, against "
        f"{percent(falsely[first].value)} % of the true descriptions. "
    )
    tested = [name for name in twins[first] if name in enough]
    blind = [name for name in tested if not twins[first][name].better]
    if not tested:
        told += "None of them has a true description of its own to be compared with"
    elif blind:
        told += (
            f"Of {len(tested)} designs it shows no sign of having seen the change in "
            f"{', '.join(map(repr, blind))}"
        )
    else:
        told += f"In each of {len(tested)} designs it rejects more than the same words left true"
    if len(rejected) > 1:
        orders = {tuple(_order(rejected, name)) for name in enough}
        told += f", and the ranking of the {len(rejected)} models "
        told += "is the same under all designs" if len(orders) == 1 else "depends on the design"
    return f"{told}."


STUDIES.register(
    "negatives",
    Study(
        name="negatives",
        question="How does the design of negatives drive rejection?",
        needs="one model or more, asked the data once and up to seven negatives of each of 150 "
        "positives; folders of `groundingme negatives` where a model wrote some. With train=true "
        "pip install 'groundingme[train]' and some minutes of one core",
        plan=plan,
        then=then,
        reduce=reduce,
        knobs=(
            Knob("positives", 150, "of which negatives are made, at most"),
            Knob("made", "", "folders of `groundingme negatives`, with commas between them"),
            Knob("train", False, "true: also teach the built-in learner with negatives of each "
                 "design (extra `train`)"),
            *learning.KNOBS,
        ),
    ),
)  # fmt: skip
