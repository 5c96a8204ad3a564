"""What came of lessons with negatives of each design: which of them teach which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from groundingme.report.svg import Span
from groundingme.studies.designs import BY_RULES, OTHER, OWN, Designs, Negative
from groundingme.studies.estimates import Bools, Codes, Shares, images, percent
from groundingme.studies.figures import dots, percents
from groundingme.studies.learning import shared
from groundingme.studies.rejecting import Asked
from groundingme.studies.study import Done, Dots, Table
from groundingme.studies.teaching import ALL, LESSONS, OF_KIND, UNTOUCHED


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the lessons.

    Attributes:
        finding: In a sentence.
        table: Trained on which, rejects which.
        figure: The same in short.
        shares: By lesson, the share of every design that is rejected, and of the positives.
        seeds: Trainings.
    """

    finding: str
    table: Table
    figure: Dots
    shares: Shares
    seeds: int


RIGHT, FALSELY = "true: right", "true: rejected"
TRUE = "true descriptions"
SAME, OTHERS = "the kinds it was trained on", "the data's other kinds"


def learned(done: Sequence[Done], negatives: Sequence[Negative], made: Designs) -> Learned | None:
    """Rejection of every design after every lesson; None where there were no lessons.

    Args:
        done: The conditions of `teaching.lessons`.
        negatives: All that were asked about: the data's own, then those that were made.
        made: The latter by condition.
    """
    if not done:
        return None
    names, each = list(LESSONS), len(made) + 1
    asked: dict[str, list[Asked]] = {name: [] for name in names}
    for at in range(0, len(done), each):
        asked[names[at // each % len(names)]].append(Asked(negatives, done[at : at + each]))
    where = images([one.sample for one in negatives])
    masks = _masks(negatives, made)
    shares = {name: _shares(mine, masks, where) for name, mine in asked.items()}
    designs = np.array([one.design for one in negatives])
    own = np.char.startswith(designs, f"{OWN}:")
    figure: Shares = {TRUE: {name: row[FALSELY] for name, row in shares.items()}}
    for title in (SAME, OTHERS, BY_RULES, OTHER):
        row = {}
        for name, mine in asked.items():
            same = np.isin(designs, [one for one, kind in OF_KIND.items() if kind in LESSONS[name]])
            mask = {SAME: same, OTHERS: own & ~same}.get(title, masks.get(title))
            if mask is not None and mask.any():
                row[name] = shared([one.rejects for one in mine], where, mask)
        if row:
            figure[title] = row
    columns_of = [*masks, RIGHT, FALSELY]
    return Learned(
        finding=_finding(figure, shares),
        table=Table(title="Trained on one design, rejection of another",
                    columns=["trained on", *columns_of],
                    rows=[[name, *(row[one] for one in columns_of)]
                          for name, row in shares.items()],
                    note="The small built-in learner, untouched and after as many questions of "
                    "each mixture, half of them positives, the same in all. Rejected of each "
                    "design; then of the true descriptions what is right at IoU 0.5, and what is "
                    "rejected."),
        figure=dots("Trained on one design, rejection of another",
                    "Rows: the negatives of the mixture. All but true descriptions are to be "
                    "rejected.", figure, percents("rejected, %")),
        shares=shares,
        seeds=len(asked[UNTOUCHED]),
    )  # fmt: skip


def _masks(negatives: Sequence[Negative], made: Designs) -> dict[str, Bools]:
    """The data's own negatives by kind, and each source of the others."""
    designs = np.array([one.design for one in negatives])
    at = len(negatives) - sum(map(len, made.values()))
    found = {name: designs == name for name in dict.fromkeys(designs[:at].tolist())}
    for name, rows in made.items():
        found[name] = (np.arange(len(designs)) >= at) & (np.arange(len(designs)) < at + len(rows))
        at += len(rows)
    return found


def _shares(mine: Sequence[Asked], masks: Mapping[str, Bools], where: Codes) -> dict[str, Span]:
    rejects, first = [one.rejects for one in mine], mine[0]
    clusters, true = first.plain.clusters, first.true
    return {
        **{name: shared(rejects, where, mask) for name, mask in masks.items()},
        RIGHT: shared([one.plain.right for one in mine], clusters, true),
        FALSELY: shared([one.plain.rejected for one in mine], clusters, true),
    }


def _finding(figure: Shares, shares: Shares) -> str:
    def averaged(title: str) -> str:
        """Over the lessons with one of the data's own kinds."""
        spans = [figure[title][name].value for name in OF_KIND if name in figure.get(title, {})]
        return percent(float(np.mean(spans))) if spans else "–"

    def both(title: str, name: str) -> str:
        span = figure.get(title, {}).get(name, Span(float("nan")))
        return f"{percent(span.value)} and {percent(shares[name][FALSELY].value)} %"

    if not figure.keys() & {SAME}:
        return (
            "The data has no rejections of the kinds that are taught, so nothing can be said of "
            "what one kind teaches of another."
        )
    return (
        f"Taught one kind, the small built-in learner rejects {averaged(SAME)} % of that kind, "
        f"{averaged(OTHERS)} % of the data's other kinds and {averaged(TRUE)} % of the true "
        f"descriptions; of the data's kinds and of the true descriptions it rejects "
        f"{both(SAME, ALL)} taught all of them, {both(OTHERS, BY_RULES)} taught negatives by "
        f"rules, and {both(OTHERS, OTHER)} taught true descriptions with another picture."
    )
