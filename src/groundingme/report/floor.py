"""What a report says of rejections that the text alone gives away."""

from __future__ import annotations

from groundingme import text_floor
from groundingme.errors import DataError
from groundingme.protocols import REJECTED
from groundingme.report.contents import Contents
from groundingme.wording import points


def warnings(contents: Contents, *, most: int = 2) -> list[str]:
    """A sentence on each of the best runs whose rejections do not beat the text floor.

    Args:
        contents: Any; a data set with too few samples of either kind gives nothing.
        most: How many of the best runs are looked at.
    """
    clusters = contents.comparison.clusters
    try:
        guesses = text_floor.guess(contents.samples, clusters.tolist())
    except DataError:
        return []
    found = []
    for standing in contents.standings[:most]:
        rejected = contents.entries[standing.entry].scores.outcome == REJECTED
        one = text_floor.verdict(guesses, contents.negatives, rejected, clusters)
        if one.beats:
            continue
        who = standing.label if len(contents.entries) > 1 else "The model"
        gap = one.difference
        found.append(
            f"{who} does not reject better than the text alone: it rejects "
            f"{100 * one.model:.1f}\u00a0% of what matches nothing, and a classifier that reads "
            f"the descriptions and no image rejects {100 * one.text:.1f}\u00a0% with no more false "
            f"rejections (difference {points(gap.value)} points, {points(gap.low)} to "
            f"{points(gap.high)})."
        )
    return found
