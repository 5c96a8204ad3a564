"""What a comparison found, in sentences that a person understands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from groundingme.comparison import ALL, Comparison, Contrast


def sentence(comparison: Comparison, a: int, b: int) -> str:
    """What the data say of two runs.

    Args:
        comparison: Of two runs or more.
        a: Index of the one run, as given.
        b: Index of the other.

    Returns:
        Such as "A is better on Spatial by 6.3 points (2.1 to 10.4); elsewhere the data cannot tell
        them apart". Subtasks are named where their category does not say so already.
    """
    contrasts = [one for one in comparison.contrasts if {one.a, one.b} == {a, b}]
    names = {at: comparison.entries[at].label for at in (a, b)}
    parts = []
    for winner in (a, b):
        won = [one for one in contrasts if one.better == winner and not _said(one, contrasts)]
        if won:
            parts.append(f"{names[winner]} is better {_and([_gain(one, winner) for one in won])}")
    open_questions = [one for one in contrasts if one.level < 2 and one.better is None]
    whole = next(one for one in contrasts if one.group == ALL)
    if not parts:
        return (
            f"The data cannot tell {names[whole.a]} and {names[whole.b]} apart: "
            f"{_lead(whole, names[whole.a], names[whole.b])}"
        )
    if whole.better is None:
        lead = _lead(whole, names[whole.a], names[whole.b])
        parts.append(f"overall the data cannot tell them apart ({lead})")
    elif open_questions:
        parts.append("elsewhere the data cannot tell them apart")
    return "; ".join(parts)


def sentences(comparison: Comparison, *, most: int = 10) -> list[str]:
    """One sentence a pair: all pairs, or neighbours in the table if they are more than `most`."""
    order = [one.entry for one in comparison.standings]
    pairs = [(a, b) for at, a in enumerate(order) for b in order[at + 1 :]]
    if len(pairs) > most:
        pairs = list(pairwise(order))
    return [sentence(comparison, a, b) for a, b in pairs]


def points(share: float) -> str:
    """A share in [-1, 1] as points with one decimal, and a true minus sign."""
    return f"{100 * share:.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """A probability with three decimals; one that would read as nothing is only bounded."""
    return "–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _said(one: Contrast, contrasts: Sequence[Contrast]) -> bool:
    """Whether the category of a subtask already says so."""
    category = one.group.partition("/")[0]
    return one.level == 2 and any(
        other.group == category and other.better == one.better for other in contrasts
    )


def _gain(one: Contrast, winner: int) -> str:
    gap, low, high = one.difference, one.low, one.high
    if winner == one.b:
        gap, low, high = -gap, -high, -low
    group = "all samples" if one.group == ALL else one.group
    return f"on {group} by {points(gap)} points ({points(low)} to {points(high)})"


def _lead(one: Contrast, a: str, b: str) -> str:
    gap, low, high = one.difference, one.low, one.high
    if one.only_a == one.only_b == 0:
        return f"they have the same {one.samples} samples right and wrong"
    if gap < 0:
        gap, low, high, a = -gap, -high, -low, b
    # At the border the interval and the exact test may say different things.
    test = f"; by the exact test p = {one.adjusted:.3f}" if low > 0 else ""
    ends = f"{points(low)} to {points(high)}"
    return f"{a} is {points(gap)} points ahead on all samples ({ends}{test})"


def _and(items: Sequence[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
