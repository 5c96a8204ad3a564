"""How a project goes: who did how much, how far people agree, how well they reject."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import orm

from groundingme import stats
from groundingme.studio import agreement, views
from groundingme.studio.documents import CRITERIA
from groundingme.studio.models import Annotation, Event, Item, Project

Document = dict[str, Any]


class Done(NamedTuple):
    """A submitted annotation."""

    item: int
    person: int
    document: Document


_QUESTIONS: dict[str, Callable[[Document], Hashable]] = {
    "subtask": lambda one: (one["subtask_l1"], one["subtask_l2"]) if one["subtask_l1"] else None,
    "rejection": lambda one: one["rejection"] is not None,
    **{name: (lambda one, name=name: one["criteria"][name]) for name in CRITERIA},  # type: ignore[misc]
}
"""What people answer in categories; None is no answer."""


def dashboard(session: orm.Session, project: Project) -> dict[str, Any]:
    """Everything of a project that is counted; NaN is null."""
    named = views.names(session)
    done = submitted(session, project)
    return {
        "project": views.project(session, project),
        "throughput": _throughput(session, project, named),
        "agreement": _agreement(done, project.kind, named),
        "presence": _presence(session, project, done, named),
    }


def submitted(session: orm.Session, project: Project) -> list[Done]:
    """The submitted annotations of a project, by item."""
    rows = session.execute(
        sa.select(Annotation.item_id, Annotation.person_id, Annotation.document)
        .join(Item, Item.id == Annotation.item_id)
        .where(Item.project_id == project.id, Annotation.state == "submitted")
        .order_by(Annotation.item_id, Annotation.id)
    )
    return [Done(item, person, document) for item, person, document in rows]


def _throughput(
    session: orm.Session, project: Project, named: dict[int, str]
) -> list[dict[str, Any]]:
    """By person and day: items submitted, skipped and decided, and seconds for each."""
    rows = session.execute(
        sa.select(Event.person_id, Event.time, Event.kind, Event.after).where(
            Event.project_id == project.id, Event.kind.in_(("submit", "skip", "decide"))
        )
    )
    counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    for person, time, kind, after in rows:
        key = (person or 0, time[:10])
        counts[key][kind] += 1
        spent = after["document"]["seconds"] if kind == "submit" and after else 0
        if spent:
            seconds[key].append(spent)
    return [
        {
            "person": key[0],
            "name": named.get(key[0], ""),
            "day": key[1],
            "submitted": counts[key]["submit"],
            "skipped": counts[key]["skip"],
            "decided": counts[key]["decide"],
            "seconds": float(np.median(seconds[key])) if seconds[key] else None,
        }
        for key in sorted(counts, key=lambda one: (one[1], one[0]))
    ]


def _agreement(done: Sequence[Done], kind: str, named: dict[int, str]) -> dict[str, Any]:
    """Of items that two or more people submitted."""
    count = Counter(one.item for one in done)
    done = [one for one in done if count[one.item] > 1]
    items = {id: at for at, id in enumerate(dict.fromkeys(one.item for one in done))}
    people = {id: at for at, id in enumerate(sorted({one.person for one in done}))}
    questions = {"match": lambda one: one["match"]} if kind == "presence" else _QUESTIONS
    tables = {name: _table(done, items, people, answer) for name, answer in questions.items()}
    pairs = [_pair(done, tables, people, a, b, named) for a, b in itertools.combinations(people, 2)]
    boxes = sum(one["boxes"] for one in pairs)
    overlap = sum(one["boxes"] * one["mean_iou"] for one in pairs if one["boxes"])
    return {
        "items": len(items),
        "questions": [
            {
                "name": name,
                "items": int(((table != agreement.NONE).sum(axis=0) > 1).sum()),
                "fleiss_kappa": told(agreement.fleiss_kappa(agreement.as_counts(table))),
                "krippendorff_alpha": told(agreement.krippendorff_alpha(table)),
            }
            for name, table in tables.items()
        ],
        "pairs": pairs,
        "mean_iou": overlap / boxes if boxes else None,
        "boxes": boxes,
    }


def _table(
    done: Sequence[Done],
    items: dict[int, int],
    people: dict[int, int],
    answer: Callable[[Document], Hashable],
) -> NDArray[np.int64]:
    """Answers as codes, a row a person, a column an item."""
    codes: dict[Hashable, int] = {}
    table = np.full((len(people), len(items)), agreement.NONE, np.int64)
    for one in done:
        said = answer(one.document)
        if said is not None:
            table[people[one.person], items[one.item]] = codes.setdefault(said, len(codes))
    return table


def _pair(
    done: Sequence[Done],
    tables: dict[str, NDArray[np.int64]],
    people: dict[int, int],
    a: int,
    b: int,
    named: dict[int, str],
) -> dict[str, Any]:
    drawn: dict[int, dict[int, Any]] = defaultdict(dict)
    both: Counter[int] = Counter()
    for one in done:
        if one.person in (a, b):
            both[one.item] += 1
            if one.document["box"] is not None:
                drawn[one.item][one.person] = one.document["box"]
    boxes = [(one[a], one[b]) for one in drawn.values() if len(one) == 2]
    iou = agreement.mean_iou([one for one, _ in boxes], [other for _, other in boxes])
    return {
        "people": [a, b],
        "names": [named.get(a, ""), named.get(b, "")],
        "items": sum(n == 2 for n in both.values()),
        "cohen_kappa": {
            name: told(agreement.cohen_kappa(table[people[a]], table[people[b]]))
            for name, table in tables.items()
        },
        "mean_iou": told(iou),
        "boxes": len(boxes),
    }


def _presence(
    session: orm.Session, project: Project, done: Sequence[Done], named: dict[int, str]
) -> dict[str, Any] | None:
    """How often people are right on whether anything matches, with intervals by picture."""
    if project.kind != "presence":
        return None
    rows = session.execute(sa.select(Item.id, Item.target).where(Item.project_id == project.id))
    truth = {id: (bool(target["absent"]), target["where"]) for id, target in rows}
    kinds = {"all": (False, True), "rejection": (True,), "positive": (False,)}

    def figures(of: Sequence[Done]) -> dict[str, Any]:
        return {
            name: _share(
                [one.document["match"] != truth[one.item][0] for one in of
                 if truth[one.item][0] in wanted],
                [truth[one.item][1] for one in of if truth[one.item][0] in wanted],
            )
            for name, wanted in kinds.items()
        }  # fmt: skip

    people = sorted({one.person for one in done})
    return {
        **figures(done),
        "people": [
            {"person": id, "name": named.get(id, ""),
             **figures([one for one in done if one.person == id])}
            for id in people
        ],
    }  # fmt: skip


def _share(right: Sequence[bool], pictures: Sequence[str]) -> dict[str, Any]:
    """A share with its exact 95 % interval; answers on one picture are not independent."""
    if not right:
        return {"n": 0, "right": 0, "accuracy": None, "low": None, "high": None}
    ends = stats.exact_interval(right, stats.cluster_codes(pictures))
    return {
        "n": len(right),
        "right": sum(right),
        "accuracy": sum(right) / len(right),
        "low": ends.low,
        "high": ends.high,
    }


def told(value: float) -> float | None:
    """A figure as JSON has it: NaN is null."""
    return None if math.isnan(value) else value
