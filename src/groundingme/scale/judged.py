"""Selectors that ask a judge: the paper's knockout, and ways that ask less."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from groundingme.judges import Ask, Candidate, Judge, read_letter
from groundingme.judges.pictures import whole
from groundingme.judges.words import VIEW
from groundingme.protocols import BOX, REJECTED
from groundingme.scale.court import Case, Court, play_all
from groundingme.scale.knockout import Contest, knockout
from groundingme.scale.select import Choice, majority, pick, representatives
from groundingme.scale.trajectories import Trajectories, answered, clusters, sizes
from groundingme.schema import Generation, Sample

ANSWERS_FOR = ("Discriminative",)
"""Categories that the routed selector sends to the judge of answers: the paper finds that there the
reasoning misleads more than it helps."""


class Hearing:
    """What judged selectors need of one sample run.

    Args:
        t: All trajectories.
        samples: In the same order, with their images where a judge looks.
        generations: By sample id and trajectory: the texts.
    """

    def __init__(
        self,
        t: Trajectories,
        samples: Sequence[Sample],
        generations: Mapping[tuple[str, int], Generation],
    ) -> None:
        self.t = t
        self.samples = samples
        self._generations = generations
        self._row = {id: row for row, id in enumerate(t.ids)}

    @cached_property
    def weight(self) -> list[list[float]]:
        """For each sample and trajectory the size of its cluster."""
        label = clusters(self.t)
        size = sizes(label)
        rows = np.arange(len(self.t))[:, None]
        found = np.where(label >= 0, size[rows, np.maximum(label, 0)], 0.0)
        return [list(map(float, row)) for row in found.tolist()]

    def candidate(self, row: int, k: int) -> Candidate:
        """One trajectory as judges see it."""
        one = self._generations.get((self.t.ids[row], k))
        x1, y1, x2, y2 = self.t.boxes[row, k].tolist()
        return Candidate(
            trajectory=k,
            box=(x1, y1, x2, y2) if self.t.outcome[row, k] == BOX else None,
            text=one.text if one else "",
            reasoning=one.reasoning if one else "",
        )

    def case(self, id: str, one: int, other: int) -> Case:
        """Two trajectories of a sample."""
        row = self._row[id]
        return Case(self.samples[row], self.candidate(row, one), self.candidate(row, other))

    def larger(self, id: str, one: int, other: int) -> int:
        """The trajectory with the larger cluster, of equal ones the earlier: the majority's way."""
        weight = self.weight[self._row[id]]
        return min((one, other), key=lambda k: (-weight[k], k))

    def contest(self, candidates: Sequence[Sequence[int]], court: Court) -> Choice:
        """A knockout among each sample's candidates; without any, its first trajectory."""
        contests: dict[str, Contest] = {
            id: knockout(found) for id, found in zip(self.t.ids, candidates, strict=True) if found
        }
        won = play_all(court, contests, self.case, self.larger)
        return pick(self.t, np.array([won.get(id, 0) for id in self.t.ids], dtype=np.intp))


def by_knockout(hearing: Hearing, court: Court) -> Choice:
    """The paper's: every trajectory with an answer takes part, N - 1 comparisons."""
    everyone = [np.flatnonzero(row).tolist() for row in answered(hearing.t)]
    return hearing.contest(everyone, court)


def by_clusters(hearing: Hearing, court: Court) -> Choice:
    """Only one trajectory of each of the largest clusters takes part: at most 4 comparisons."""
    return hearing.contest(representatives(hearing.t), court)


def routed(hearing: Hearing, answers: Court, traces: Court) -> Choice:
    """Clusters, judged by their answers in some categories and by their traces in the others."""
    found = representatives(hearing.t)
    direct = [category in ANSWERS_FOR for category in hearing.t.subtask_l1]
    parts = [
        hearing.contest([c if wanted == d else [] for c, d in zip(found, direct, strict=True)], one)
        for wanted, one in ((True, answers), (False, traces))
    ]
    index = np.where(direct, parts[0].index, parts[1].index)
    return pick(hearing.t, index)


class Presence(Judge):
    """Asks whether anything matches, before anybody says where."""

    name = "presence"

    def asks(self, sample: Sample, one: Candidate, other: Candidate) -> list[Ask | None]:
        prompt = (
            f"{VIEW}\n\nDescription: {sample.description}\n\n"
            "Does at least one object in the picture match this description in every part? Check "
            "each part on the objects in question. If one part fits no object, the answer is no. "
            "End with one line that holds nothing but \\boxed{A} for yes or \\boxed{B} for no."
        )
        return [Ask(prompt, whole(sample))]

    def verdict(self, replies: Sequence[str]) -> int | None:
        return read_letter(replies[0])


def presence_then_place(hearing: Hearing, court: Court) -> Choice:
    """A yes-or-no question decides on rejection, and the box is that of the largest cluster.

    Args:
        hearing: The trajectories.
        court: With `Presence` as its judge, in the given order: A stands for yes.
    """
    t = hearing.t
    label = clusters(t)
    size = sizes(label)
    # 0 stands for yes and 1 for no in the pair that is "judged".
    yes, no = Candidate(trajectory=0), Candidate(trajectory=1)
    said = court.hear([Case(sample, yes, no) for sample in hearing.samples])
    fallback = majority(t, np.random.default_rng(0))
    boxes = np.where(t.outcome == BOX, size, -1.0)
    best = boxes.argmax(axis=1)
    has_box = boxes.max(axis=1) > 0
    outcome, box, index = (
        fallback.outcome.copy(), fallback.boxes.copy(), fallback.index.copy()
    )  # fmt: skip
    for row, answer in enumerate(said):
        if answer == 1:
            outcome[row], box[row], index[row] = REJECTED, np.nan, -1
        elif answer == 0 and has_box[row]:
            outcome[row], box[row], index[row] = BOX, t.boxes[row, best[row]], best[row]
    return Choice(outcome, box, index)


JUDGED: dict[str, Callable[[Hearing, Court], Choice]] = {
    "knockout": by_knockout,
    "clusters": by_clusters,
}
"""Selectors with one judge, by name; `routed` and `presence` have courts of their own."""
