"""Which ratio to take, by a stated criterion, and what a sweep found, in two sentences."""

from __future__ import annotations

import itertools

import msgspec

from groundingme.taxonomy import REJECTION
from groundingme.train.sweep.plan import DOMAINS, UNTOUCHED, Domain
from groundingme.train.sweep.reduction import (
    BALANCED,
    FALSE,
    POSITIVES,
    SKILL,
    TOTAL,
    Cell,
    Reduced,
)

_SLACK = 1e-9


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation.

    Attributes:
        ratio: Its name; None where no ratio meets the criterion.
        criterion: In a sentence.
        reason: In a sentence or two, with the figures.
    """

    ratio: str | None
    criterion: str
    reason: str


def advise(reduced: Reduced, max_loss: float) -> Advice:
    """The ratio with the best balanced score of those that lose little.

    Args:
        reduced: All figures.
        max_loss: Points (percent) that positives may lose against the untouched model, as their
            mean over seeds; out of domain where the sweep has such samples, else in domain.
    """
    domain: Domain = "out-of-domain"
    if not (reduced.find(domain, POSITIVES) and reduced.find(domain, BALANCED)):
        domain = "in-domain"
    where = _where(domain)
    criterion = (
        f"The best balanced score {where} among the ratios whose positives {where} lose at most "
        f"{max_loss:g} points against the untouched model (the mean over seeds counts, not an end "
        "of its interval)."
    )
    positives, balanced = reduced.find(domain, POSITIVES), reduced.find(domain, BALANCED)
    if not positives or not balanced:
        reason = "It takes samples with and without an answer, and there is one kind only."
        return Advice(ratio=None, criterion=criterion, reason=reason)
    changes = positives.changes
    mixtures = [name for name in reduced.ratios if not name.startswith("0:")]
    fit = [name for name in mixtures if -100 * changes[name].value <= max_loss + _SLACK]
    if not fit:
        least = max(mixtures, key=lambda name: changes[name].value)
        reason = (
            f"Every ratio loses more; the smallest loss is {_loss(changes[least])}, at {least}."
        )
        return Advice(ratio=None, criterion=criterion, reason=reason)
    best = max(fit, key=lambda name: balanced.cells[name].value)
    if balanced.cells[best].value <= balanced.cells[UNTOUCHED].value + _SLACK:
        reason = (
            "The untouched model's balanced score is as good: "
            f"{_share(balanced.cells[UNTOUCHED])}, that of {best} {_share(balanced.cells[best])}."
        )
        return Advice(ratio=None, criterion=criterion, reason=reason)
    change = changes[best]
    moved = f"lose {_loss(change)}" if change.value < 0 else f"gain {_gain(change)}"
    reason = f"Its balanced score is {_share(balanced.cells[best])}, and its positives {moved}."
    if -100 * change.low > max_loss:
        reason += f" The interval does not exclude a loss above {max_loss:g} points."
    rivals = [
        name for name in fit
        if name != best and balanced.cells[name].high > balanced.cells[best].low
    ]  # fmt: skip
    if rivals:
        reason += f" The interval of its score overlaps that of {_listed(rivals)}."
    return Advice(ratio=best, criterion=criterion, reason=reason)


def finding(reduced: Reduced) -> list[str]:
    """What rejection gains and what positives lose, then how far it carries over; two sentences.

    Where a domain or a kind of sample is missing, so is what could be said of it.
    """
    last = reduced.ratios[-1]
    halves = []
    for what, name in (("rejection goes", REJECTION), ("positives go", POSITIVES)):
        parts = []
        for domain in DOMAINS:
            row = reduced.find(domain, name)
            if row:
                trained = [row.cells[one].value for one in reduced.ratios]
                parts.append(
                    f"from {_percent(row.cells[UNTOUCHED].value)} to "
                    f"{_percent(row.cells[last].value)} % {_where(domain)} "
                    f"({_trend(row.changes[last])}{_steps(trained)})"
                )
        if parts:
            halves.append(f"{what} {' and '.join(parts)}")
    first = f"From the untouched model to {last}, {', and '.join(halves)}."
    return [first, *_transfer(reduced)] if halves else []


def _transfer(reduced: Reduced) -> list[str]:
    """How much of what is learnt in domain is there out of domain.

    Who merely rejects more often rejects more of everything, so what counts is rejection less
    false rejections, at the ratio where that is largest in domain.
    """
    inside, outside = (reduced.find(domain, SKILL) for domain in DOMAINS)
    wrong = reduced.find("out-of-domain", FALSE)
    if not inside or not outside or not wrong:
        return []
    best = max(reduced.ratios, key=lambda name: inside.cells[name].value)
    here, there = inside.changes[best], outside.changes[best]
    if here.low <= 0:
        return ["Rejection is not clearly gained in domain, so nothing can be said of transfer."]
    if there.low <= 0 <= there.high:
        word = "no transfer can be shown"
    elif there.high < here.low:
        word = "transfer is partial"
    else:
        word = "a loss in transfer cannot be shown"
    share = 100 * there.value / here.value
    return [
        f"Less false rejections, {best} gains {100 * here.value:.1f} points of rejection in domain "
        f"and {100 * there.value:.1f} out of domain ({share:.0f} %; {word}), where it also rejects "
        f"{_percent(wrong.cells[best].value)} % of what is there{_total(reduced)}."
    ]


def _total(reduced: Reduced) -> str:
    row = reduced.find("out-of-domain", TOTAL)
    if not row:
        return ""
    worse = sum(one.high < 0 for one in row.changes.values())
    better = sum(one.low > 0 for one in row.changes.values())
    return (
        f"; of {len(row.changes)} trained models {better} are clearly better in Total out of "
        f"domain than the untouched one and {worse} clearly worse"
    )


def _where(domain: str) -> str:
    return "in domain" if domain == "in-domain" else "out of domain"


def _trend(change: Cell) -> str:
    if change.low <= 0 <= change.high:
        return "no clear change"
    return "clearly up" if change.value > 0 else "clearly down"


def _steps(values: list[float]) -> str:
    """Whether more negatives always lead the same way."""
    pairs = list(itertools.pairwise(values))
    if len(set(values)) < 2:
        return ""
    if all(b >= a for a, b in pairs):
        return ", up with every step of the ratio"
    if all(b <= a for a, b in pairs):
        return ", down with every step of the ratio"
    return ", not the same way at every step of the ratio"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _share(cell: Cell) -> str:
    return f"{_percent(cell.value)} ({_percent(cell.low)} to {_percent(cell.high)})"


def _loss(change: Cell) -> str:
    return f"{-100 * change.value:.1f} points ({-100 * change.high:.1f} to {-100 * change.low:.1f})"


def _gain(change: Cell) -> str:
    return f"{100 * change.value:.1f} points ({100 * change.low:.1f} to {100 * change.high:.1f})"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
