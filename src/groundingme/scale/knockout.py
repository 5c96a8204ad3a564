"""Comparisons that leave one answer, whoever judges: asked for one pair at a time.

A contest is a generator of pairs of candidates that is sent each winner, so the same contest runs
on stored verdicts, on simulated judges and on a model that takes seconds a verdict.

>>> contest = knockout([4, 7, 2])
>>> next(contest)
(4, 7)
>>> contest.send(7)
(7, 2)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

Contest = Generator[tuple[int, int], int, int]
"""Yields pairs, is sent the winner of each, returns the last one left."""


def knockout(candidates: Sequence[int]) -> Contest:
    """The winner so far meets the next candidate: len(candidates) - 1 comparisons."""
    champion = candidates[0]
    for challenger in candidates[1:]:
        champion = yield champion, challenger
    return champion


def play(contest: Contest, better: Callable[[int, int], int]) -> tuple[int, int]:
    """Plays a contest with a judge that answers at once.

    Args:
        contest: Not begun.
        better: Gives the better one of a pair.

    Returns:
        The winner and the number of comparisons.
    """
    asked = 0
    try:
        pair = next(contest)
        while True:
            asked += 1
            pair = contest.send(better(*pair))
    except StopIteration as end:
        return int(end.value), asked


def expected(p: float, n: int, judge: float) -> float:
    """How likely the winner of N is right, for independent candidates.

    Args:
        p: Chance that a candidate is right, in [0, 1].
        n: Candidates, 1 or more.
        judge: Chance that the judge takes the right one where just one of the pair is, in [0, 1].

    Returns:
        In [0, 1].
    """
    champion = p
    for _ in range(n - 1):
        mixed = champion * (1 - p) + (1 - champion) * p
        champion = champion * p + mixed * judge
    return champion
