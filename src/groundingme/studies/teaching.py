"""What negatives of each design teach: the learner of any computer, on a mixture with each.

Every mixture has the same positives and as many negatives, half and half, so
that mixtures differ in the design of their negatives alone. Negatives by rules and with another
picture are made of the training's own scenes, as those that are asked about are made of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme.datasets import Dataset
from groundingme.schema import ImageSource, Sample
from groundingme.studies.continual import KINDS
from groundingme.studies.designs import BY_RULES, OTHER, OWN, Designs, questions
from groundingme.studies.learning import School, drawn, schools, stoppable, trained
from groundingme.studies.study import Condition, Setting
from groundingme.taxonomy import REJECTION
from groundingme.terminal import say

if TYPE_CHECKING:
    from groundingme.train.grounder.questions import Exercise, Page

UNTOUCHED, POSITIVES, ALL = "untouched", "positives alone", f"{OWN}: all kinds"
OF_KIND = {f"{OWN}: {kind.lower()}": kind for kind in KINDS}
LESSONS: Mapping[str, tuple[str, ...]] = {
    UNTOUCHED: (),
    POSITIVES: (),
    **{name: (kind,) for name, kind in OF_KIND.items()},
    ALL: KINDS,
    BY_RULES: (BY_RULES,),
    OTHER: (OTHER,),
}
"""By name, the kinds of the negatives in a mixture: half of it, all kinds evenly. The first is no
lesson but the untouched model."""

_A_PAGE = 2
"""Positives of a scene of which negatives are made."""


def mixture(kinds: Sequence[str], name: str, size: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the questions of a lesson, in the order in which they come up.

    Args:
        kinds: Of all questions: "" for one that something matches, else that of the negative.
        name: Of `LESSONS`.
        size: Questions.
        seed: Of drawing; with replacement where there are too few of a kind.
    """
    column, taught = np.array(kinds), LESSONS[name]
    half = size // 2
    shares = {"": size - half if taught else size}
    shares |= {kind: half // len(taught) + (at < half % len(taught))
               for at, kind in enumerate(taught)}  # fmt: skip
    drawn = []
    for kind, count in shares.items():
        rng = np.random.default_rng([seed, 13, *kind.encode()])
        pool = rng.permutation(np.flatnonzero(column == kind))
        # The same first positives in every mixture, more of them where they are alone.
        drawn.append(np.resize(pool, count if len(pool) else 0))
    order = np.concatenate(drawn)
    places = np.random.default_rng([seed, 14]).permutation(size)
    return np.asarray(order[places[places < len(order)]], np.int64)


def with_negatives(pages: Sequence[Page], seed: int) -> list[Page]:
    """The same scenes with further questions: by rules, and those of other scenes."""
    more: dict[int, list[Exercise]] = {}
    for at, made in _by_rules(pages, seed):
        more.setdefault(at, []).append(made)
    for at, made in _elsewhere(pages, seed):
        more.setdefault(at, []).append(made)
    return [
        msgspec.structs.replace(page, exercises=[*page.exercises, *more.get(at, [])])
        for at, page in enumerate(pages)
    ]


def _positives(page: Page) -> list[Exercise]:
    return [one for one in page.exercises if one.target >= 0][:_A_PAGE]


def _negative(text: str, kind: str, marks: list[int]) -> Exercise:
    from groundingme.train.grounder.questions import Exercise

    return Exercise(text, -1, REJECTION, kind, marks)


def _by_rules(pages: Sequence[Page], seed: int) -> Iterator[tuple[int, Exercise]]:
    """Negatives by rules of every kind, each with the place of its page."""
    from groundingme.train.around import Pictures
    from groundingme.train.negatives import KIND_NAMES, Options, Tally, by_rules
    from groundingme.train.pictures import Look

    asked: list[tuple[Sample, Look]] = []
    marks: dict[str, tuple[int, list[int]]] = {}
    for at, page in enumerate(pages):
        scene = page.scene
        objects = [{"kind": one.kind, "color": one.color, "bbox": [int(edge) for edge in one.box]}
                   for one in scene.things]  # fmt: skip
        for number, one in enumerate(_positives(page)):
            thing, id = scene.things[one.target], f"{page.number}-{number}"
            sample = Sample(id=id, description=one.description, target=thing.box,
                            width=scene.width, height=scene.height, detection_type=thing.kind,
                            extra={"objects": objects})  # fmt: skip
            asked.append((sample, Look(str(page.number), scene.width, scene.height)))
            marks[id] = at, one.marks
    options = Options(per_positive=len(KIND_NAMES), seed=seed)
    whole = Dataset(name="pages", source="pages", samples=[one for one, _ in asked])
    for found in by_rules(asked, Pictures(asked), options, whole, Tally()):
        for made in found:
            at, bits = marks[made.sample.id]
            # Who is put elsewhere is still what the noun says; another fact is true of none.
            if made.change.kind in {*KINDS, "Absent"}:
                bits = [bit & ~1 for bit in bits]
            yield at, _negative(made.text, BY_RULES, bits)


def _elsewhere(pages: Sequence[Page], seed: int) -> Iterator[tuple[int, Exercise]]:
    """Descriptions of another scene's things, where nothing of their class is."""
    rng = np.random.default_rng([seed, 15])
    holds = [{one.kind for one in page.scene.things} for page in pages]
    for page in pages:
        for one in _positives(page):
            kind = page.scene.things[one.target].kind
            tried = rng.integers(0, len(pages), 20).tolist()
            place = next((at for at in tried if kind not in holds[at]), None)
            if place is not None:
                things = len(pages[place].scene.things)
                yield place, _negative(one.description, OTHER, [0] * things)


def lessons(setting: Setting, made: Designs) -> list[Condition]:
    """Trains what is not there yet; the learner after every lesson, on all that is asked."""
    exam = drawn(setting)
    there = {one.id: one.image for one in exam}
    files = {one.image: there[one.id] for one in setting.dataset}
    asked = {
        name: [msgspec.structs.replace(one, sample=_filed(one.sample, files)) for one in rows]
        for name, rows in made.items()
    }
    found = []
    with stoppable():
        for school in schools(setting, School):
            say(f"seed {school.seed}: training the untouched learner", err=True)
            school.begin()
            pages = with_negatives(school.questions(), school.seed)
            kinds = ["" if one.target >= 0 else one.l2 for page in pages for one in page.exercises]
            folders = {UNTOUCHED: school.start}
            for name in list(LESSONS)[1:]:
                say(f"seed {school.seed}: training on {name}", err=True)
                folders[name] = school.folder(name.replace(":", ""))
                order = mixture(kinds, name, school.size, school.seed)
                school.teach(school.start, folders[name], pages, order)
            found += [
                Condition(name=f"taught {lesson}, seed {school.seed}: {name}",
                          model=trained(folder), dataset=data)
                for lesson, folder in folders.items()
                for name, data in questions(exam, asked).items()
            ]  # fmt: skip
    return found


def _filed(sample: Sample, files: Mapping[ImageSource | None, ImageSource | None]) -> Sample:
    """The sample with its picture from a file, where it lies in one."""
    return msgspec.structs.replace(sample, image=files.get(sample.image, sample.image))
