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
    figure: Shares = {"true descriptions": {name: row[FALSELY] for name, row in shares.items()}}
    designs = np.array([one.design for one in negatives])
    own = np.char.startswith(designs, f"{OWN}:")
    for name, mine in asked.items():
        same = np.isin(designs, [one for one, kind in OF_KIND.items() if kind in LESSONS[name]])
        groups = {SAME: same, OTHERS: own & ~same,
                  **{one: masks[one] for one in (BY_RULES, OTHER) if one in masks}}  # fmt: skip
        for title, mask in groups.items():
            if mask.any():
                span = shared([one.rejects for one in mine], where, mask)
                figure.setdefault(title, {})[name] = span
    columns_of = [*masks, RIGHT, FALSELY]
    return Learned(
        finding=_finding(figure, shares),
        table=Table(title="Trained on one design, rejection of another",
                    columns=["trained on", *columns_of],
                    rows=[[name, *(row[one] for one in columns_of)]
                          for name, row in shares.items()],
                    note="The small built-in learner after the untouched model (nothing) and as "
                    "many questions of each mixture, half of them positives, the same in all. "
                    "Rejected of each design; then of the true descriptions what is right at IoU "
                    "0.5, and what is rejected."),
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
    def averaged(title: str) -> float:
        """Over the lessons with one of the data's own kinds; NaN where it has none of them."""
        spans = [figure[title][name].value for name in OF_KIND if name in figure.get(title, {})]
        return float(np.mean(spans)) if spans else float("nan")

    false = [row[FALSELY].value for name, row in shares.items() if LESSONS[name]]
    cost = f"{percent(min(false))} to {percent(max(false))} % of the true descriptions"
    if np.isnan(averaged(SAME)):
        return (
            "The data has no rejections of the kinds that are taught, so nothing can be said of "
            f"what one kind teaches of another; with negatives in the mixture {cost} are rejected."
        )
    said = (
        f"Taught one kind, the small built-in learner rejects {percent(averaged(SAME))} % of that "
        f"kind and {percent(averaged(OTHERS))} % of the data's other kinds; taught all of them, "
        f"{percent(figure[SAME][ALL].value)} % of them"
    )
    others = figure[OTHERS]
    return (
        f"{said}; taught negatives by rules, {percent(others[BY_RULES].value)} %, and descriptions "
        f"with another picture, {percent(others[OTHER].value)} %, while {cost} are rejected too."
    )
