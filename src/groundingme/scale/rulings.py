"""What several judges say of the same pairs of answers, side by side: who is right, biased, alike.

Every pair of a sample's candidates is judged once by each judge, in both orders where it sees an
order. Any contest among the candidates can then be replayed with any judge, or with a cheap one
that hands over to a dear one, without asking again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.costs import Price
from groundingme.errors import JobError
from groundingme.geometry import iou
from groundingme.protocols import BOX, REJECTED
from groundingme.scale.court import BUDGET, Court
from groundingme.scale.judged import Hearing
from groundingme.scale.knockout import knockout, play
from groundingme.scale.select import representatives
from groundingme.scale.trajectories import Trajectories
from groundingme.schema import Generation

ONE, OTHER, NEITHER = 0, 1, -1
"""Verdicts: for the answer of the larger cluster, for the other, none."""
CHUNK = 128
"""Pairs whose pictures are in memory at once."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Verdicts = NDArray[np.int8]
"""Shape `(P,)`: ONE, OTHER or NEITHER of each pair."""


class Pairs(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Every two candidates of every sample: P pairs of S samples.

    Attributes:
        candidates: Trajectories of each sample that compete, the largest cluster first.
        row: Shape `(P,)`: the sample.
        sides: Shape `(P, 2)`: the trajectories, that of the larger cluster first.
        right: Shape `(P, 2)`: which of them are right.
    """

    candidates: Sequence[Sequence[int]]
    row: NDArray[np.intp]
    sides: NDArray[np.intp]
    right: Bools

    def __len__(self) -> int:
        return len(self.row)

    @property
    def telling(self) -> Bools:
        """Shape `(P,)`: pairs of which just one is right, where a verdict is right or wrong."""
        return np.asarray(self.right[:, 0] != self.right[:, 1])

    @property
    def truth(self) -> Verdicts:
        """What a judge that never errs says; ONE where there is nothing to choose."""
        return np.where(self.right[:, 1] & ~self.right[:, 0], OTHER, ONE).astype(np.int8)


def pairs_of(t: Trajectories, most: int) -> Pairs:
    """The pairs among one trajectory of each of the `most` largest clusters."""
    candidates = representatives(t, most)
    found = [
        (row, one, other)
        for row, ks in enumerate(candidates)
        for at, one in enumerate(ks)
        for other in ks[at + 1 :]
    ]
    table = np.array(found, dtype=np.intp).reshape(-1, 3)
    row, sides = table[:, 0], table[:, 1:]
    return Pairs(candidates=candidates, row=row, sides=sides, right=t.right()[row[:, None], sides])


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge was asked.

    Attributes:
        requests: In all.
        tokens: Prompt and completion; NaN where a server did not count.
        seconds: Sum of all latencies.
        dollars: NaN where tokens or their price are not known; 0 where nothing was asked.
    """

    requests: int
    tokens: float
    seconds: float
    dollars: float


class Ruling(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One judge on all pairs.

    Attributes:
        name: Of the judge.
        winner: Shape `(P, 2)`: ONE, OTHER or NEITHER; in column 0 `ONE` was shown first.
        margin: Shape `(P,)`: how sure it is, 0 or more; NaN for a judge that does not say.
        asks: For each pair the ids of the questions of each order.
        replies: To those questions; what failed or was not asked is absent.
        sees_order: Whether it was shown one answer first.
        price: Of the judging model's tokens.
        free: Whether its questions cost no money.
    """

    name: str
    winner: NDArray[np.int8]
    margin: Floats
    asks: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]
    replies: Mapping[str, Generation] = {}
    sees_order: bool = False
    price: Price | None = None
    free: bool = True

    def both(self) -> Verdicts:
        """What it says in both orders alike; NEITHER where they differ."""
        same = self.winner[:, 0] == self.winner[:, 1]
        return np.where(same, self.winner[:, 0], NEITHER).astype(np.int8)

    def spent(self, used: Bools, orders: int = 2) -> Spent:
        """What it takes to judge some pairs; a question that serves several is counted once.

        Args:
            used: Shape `(P,)`.
            orders: 2, or 1 for the first order alone.
        """
        keys = {
            key
            for at in np.flatnonzero(used).tolist()
            for order in self.asks[at][:orders]
            for key in order
            if key in self.replies
        }
        said = [self.replies[key] for key in keys]
        nothing = float("nan") if said and not self.free else 0.0
        tokens = sum(_tokens(one) for one in said)
        paid = [self.price.of(one) if self.price else None for one in said]
        known = [one for one in paid if one is not None]
        return Spent(
            requests=len(said),
            tokens=tokens,
            seconds=sum(one.latency for one in said),
            dollars=sum(known) if said and len(known) == len(said) else nothing,
        )


def _tokens(one: Generation) -> float:
    if one.prompt_tokens is None or one.completion_tokens is None:
        return float("nan")
    return float(one.prompt_tokens + one.completion_tokens)


def by_numbers(name: str, pairs: Pairs, values: Floats) -> Ruling:
    """The judge that takes the answer with the larger number, where they differ.

    Args:
        name: Of the judge.
        pairs: P of them.
        values: Shape `(S, N)`: of each trajectory; a pair with a NaN is left undecided.
    """
    mine = values[pairs.row[:, None], pairs.sides]
    gap = mine[:, 0] - mine[:, 1]
    said = np.where(gap > 0, ONE, np.where(gap < 0, OTHER, NEITHER)).astype(np.int8)
    return Ruling(
        name=name,
        winner=np.stack([said, said], axis=1),
        margin=np.nan_to_num(np.abs(gap)),
        asks=[((), ())] * len(pairs),
    )


def by_second(
    name: str,
    pairs: Pairs,
    t: Trajectories,
    second: Trajectories,
    replies: Mapping[str, Generation],
    **money: object,
) -> Ruling:
    """The judge that takes the answer nearer to another model's: one request a sample.

    Args:
        name: Of the judge.
        pairs: P of them.
        t: The trajectories that are judged.
        second: One trajectory of the same samples, of the other model.
        replies: The other model's, by sample id.
        **money: `price` and `free` of the ruling.
    """
    near = np.full(t.outcome.shape, np.nan)
    for k in range(t.n):
        overlap = np.nan_to_num(iou(t.boxes[:, k], second.boxes[:, 0]))
        same = (t.outcome[:, k] == REJECTED) & (second.outcome[:, 0] == REJECTED)
        near[:, k] = np.where(same, 1.0, overlap)
    near[~np.isin(second.outcome[:, 0], (BOX, REJECTED))] = np.nan
    ids = [((t.ids[row],), (t.ids[row],)) for row in pairs.row.tolist()]
    ruling = by_numbers(name, pairs, near)
    known = {id: one for id, one in replies.items() if not one.failure}
    return msgspec.structs.replace(ruling, asks=ids, replies=known, **money)


def by_court(
    name: str, pairs: Pairs, hearing: Hearing, court: Court, *, free: bool = False
) -> Ruling:
    """A judge that is asked, about every pair in both orders.

    Args:
        name: Of the judge.
        pairs: P of them.
        hearing: What is shown of each trajectory.
        court: With `orders="both"`.
        free: Whether its model costs no money.

    Raises:
        FatalError: The judging model cannot be asked at all; what was said is kept.
        JobError: The budget has ended; likewise.
        Interrupted: Ctrl-C; likewise.
    """
    winner = np.full((len(pairs), 2), NEITHER, np.int8)
    asks: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for start in range(0, len(pairs), CHUNK):
        part = range(start, min(start + CHUNK, len(pairs)))
        cases = [
            hearing.case(hearing.t.ids[int(pairs.row[at])], *pairs.sides[at].tolist())
            for at in part
        ]
        for at, shown in zip(part, court.show(cases), strict=True):
            if any(one.failure == BUDGET for one in shown):
                raise JobError(
                    f"the budget ended before the judge {name!r} had ruled on all pairs; the same "
                    "command with a larger --budget goes on"
                )
            for order, verdict in enumerate(shown):
                if verdict.winner is not None:
                    winner[at, order] = int(verdict.winner == pairs.sides[at, 1])
            asks.append((shown[0].asks, shown[1].asks))
    return Ruling(
        name=name,
        winner=winner,
        margin=np.full(len(pairs), np.nan),
        asks=asks,
        replies={k: v for k, v in court.folder.generations().items() if not v.failure},
        sees_order=True,
        price=court.spending.price,
        free=free,
    )


def handed_over(cheap: Verdicts, dear: Verdicts, doubt: Bools) -> Verdicts:
    """The cheap judge's verdicts, the dear one's where there is doubt, neither's where both pass.

    Where the dear one does not decide, the cheap one's word stands.
    """
    asked = doubt & (dear != NEITHER)
    return np.where(asked, dear, cheap).astype(np.int8)


def doubts(ruling: Ruling, share: float) -> Bools:
    """The pairs of which a judge is least sure.

    Args:
        ruling: Of the judge. Undecided pairs are the least sure ones.
        share: Of the pairs that are decided, in [0, 1].

    Returns:
        Shape `(P,)`: all undecided pairs, and of the others `share` with the smallest margins; of
        a judge without margins the undecided alone, unless `share` is 1.
    """
    undecided: Bools = np.asarray(ruling.both() == NEITHER)
    if share >= 1:
        return np.ones_like(undecided)
    order = np.argsort(np.where(undecided, np.inf, ruling.margin), kind="stable")
    known = int((~undecided & ~np.isnan(ruling.margin)).sum())
    found = undecided.copy()
    found[order[: round(share * known)]] = True
    return found


def choose(pairs: Pairs, verdicts: Verdicts) -> tuple[NDArray[np.intp], Bools]:
    """Plays every sample's knockout; where the judge does not decide, the larger cluster wins.

    Returns:
        The trajectory chosen of each sample, shape `(S,)`, 0 where nothing can be chosen; and
        which pairs met, shape `(P,)`.
    """
    at = {
        (int(row), int(one), int(other)): number
        for number, (row, (one, other)) in enumerate(zip(pairs.row, pairs.sides, strict=True))
    }
    met = np.zeros(len(pairs), np.bool_)
    chosen = np.zeros(len(pairs.candidates), np.intp)

    def meet(row: int) -> Callable[[int, int], int]:
        def better(one: int, other: int) -> int:
            number = at[row, one, other]
            met[number] = True
            return other if verdicts[number] == OTHER else one

        return better

    for row, candidates in enumerate(pairs.candidates):
        if candidates:
            chosen[row], _ = play(knockout(candidates), meet(row))
    return chosen, met


def leaning(verdicts: Verdicts, has: Bools, pairs: Pairs) -> tuple[Bools, Bools, Bools]:
    """Columns that show whether a judge prefers a feature, such as the longer reasoning.

    Args:
        verdicts: Shape `(P,)`.
        has: Shape `(P, 2)`: which answer has the feature.
        pairs: P of them.

    Returns:
        Of the telling pairs where just one answer has the feature and the judge decided: which
        pairs they are (shape `(P,)`), whether the right answer has it, and whether the judge took
        the one that has it (both of the length of those).
    """
    used = pairs.telling & (has[:, 0] != has[:, 1]) & (verdicts != NEITHER)
    right_has = np.where(pairs.truth == ONE, has[:, 0], has[:, 1])
    took = np.where(verdicts == ONE, has[:, 0], has[:, 1])
    return used, np.asarray(right_has[used]), np.asarray(took[used])
