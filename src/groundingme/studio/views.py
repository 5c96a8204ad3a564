"""What the API shows of projects and items: to each person what they may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from groundingme.studio import documents, queue, work
from groundingme.studio.models import Annotation, Assignment, Event, Item, Project
from groundingme.studio.models import Person as PersonRow
from groundingme.studio.people import Person
from groundingme.studio.pictures import Pictures

PICTURE = "item"
"""Kind of the keys of items' pictures."""


def project(session: orm.Session, one: Project) -> dict[str, Any]:
    """A project with its counts by status."""
    counts = dict.fromkeys(work.STATUSES, 0)
    rows = session.execute(
        sa.select(Item.status, sa.func.count())
        .where(Item.project_id == one.id)
        .group_by(Item.status)
    )
    counts |= {status: int(count) for status, count in rows}
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "source": one.source,
        "overlap": one.overlap,
        "blind": one.blind,
        "created": one.created,
        "counts": {"total": sum(counts.values()), **counts},
        "left_out": one.notes.get("left_out", {}),
    }


def names(session: orm.Session) -> dict[int, str]:
    """Everybody's name."""
    rows = session.execute(sa.select(PersonRow.id, PersonRow.name))
    return {id: str(name) for id, name in rows}


def light(
    one: Item, status: str, mine: str | None, flag: bool, pictures: Pictures, kind: str
) -> dict[str, Any]:
    """An item in a list."""
    told = {
        "id": one.id,
        "picture": pictures.key(PICTURE, str(one.id)),
        "status": status,
        "mine": mine,
        "flag": flag,
        "order": one.order,
        "description": one.target["description"],
        "width": one.target["width"],
        "height": one.target["height"],
    }
    if kind == "presence":
        return told
    return {
        **told,
        "name": one.name,
        "box": one.target["box"],
        "label": one.label,
        "subtask_l1": one.subtask_l1,
        "subtask_l2": one.subtask_l2,
        "rank": one.target["rank"],
        "flags": one.target["flags"],
    }


class Sight:
    """One item as one person may see it.

    Args:
        session: To read from.
        item: The item.
        who: The person.
    """

    def __init__(self, session: orm.Session, item: Item, who: Person) -> None:
        found = session.get(Project, item.project_id)
        assert found is not None
        self.session, self.item, self.who, self.project = session, item, who, found
        self.everybody = work.annotations_of(session, item.id)
        self.mine = next((one for one in self.everybody if one.person_id == who.id), None)
        given = session.scalar(
            sa.select(Assignment.id).where(
                Assignment.item_id == item.id, Assignment.person_id == who.id
            )
        )
        state = self.mine.state if self.mine else None
        self.hidden = queue.is_hidden(found, item, who, state, given is not None)

    def annotations(self) -> Sequence[Annotation]:
        """Those that may be seen."""
        return [one for one in self.everybody if not self.hidden or one is self.mine]

    def status(self) -> str:
        """The item's, or where the others' work is hidden the person's own."""
        if not self.hidden:
            return self.item.status
        state = self.mine.state if self.mine else "draft"
        return {"submitted": "annotated", "skipped": "skipped"}.get(state, "open")

    def document(self, pictures: Pictures) -> dict[str, Any]:
        """Everything that the page of one item needs."""
        item, target, kind = self.item, self.item.target, self.project.kind
        shared = work.is_shared(self.project)
        own = self.mine.version if self.mine else 0
        mine = {
            "version": item.version if shared else own,
            "state": self.mine.state if self.mine else "new",
            **work.start(self.project, item, self.everybody, self.who.id),
        }
        told = {
            "id": item.id,
            "project": item.project_id,
            "kind": kind,
            "picture": pictures.key(PICTURE, str(item.id)),
            "width": target["width"],
            "height": target["height"],
            "status": self.status(),
            "version": own if self.hidden and not shared else item.version,
            "mine": mine,
        }
        if kind == "presence":
            told["description"] = target["description"]
        if kind != "presence" or (self.who.may("reviewer") and not self.hidden):
            told |= self._proposal()
        named = names(self.session)
        given = queue.assigned(self.session, [item.id])[item.id]
        decision = None if self.hidden else item.decision
        return {
            **told,
            "assigned": [one for one in given if not self.hidden or one["id"] == self.who.id],
            "annotations": [self._annotation(one, named) for one in self.annotations()],
            "decision": decision and {**decision, "name": named.get(decision["person"], "")},
            "differences": self._differences(),
        }

    def _proposal(self) -> dict[str, Any]:
        target = self.item.target
        return {
            "name": self.item.name,
            "proposal": {name: target[name] for name in ("box", "label", "score")},
            "subtask_l1": target["subtask_l1"],
            "subtask_l2": target["subtask_l2"],
            "others": target["others"],
            "draft": target["description"],
            "drafts": target["drafts"],
            "original": target["original"],
            "changes": target["changes"],
            "verdicts": target["verdicts"],
            "flags": target["flags"],
            "rank": target["rank"],
        }

    def _annotation(self, one: Annotation, named: dict[int, str]) -> dict[str, Any]:
        return {
            "person": one.person_id,
            "name": named.get(one.person_id, ""),
            "state": one.state,
            "version": one.version,
            "updated": one.updated,
            **one.document,
        }

    def _differences(self) -> list[str]:
        done = [one.document for one in self.annotations() if one.state == "submitted"]
        found: Counter[str] = Counter()
        for one in done[1:]:
            found.update(documents.differences(done[0], one))
        return list(found)

    def history(self) -> list[dict[str, Any]]:
        """The audit trail, the newest first; of what came too late, too."""
        named = names(self.session)
        rows = self.session.scalars(
            sa.select(Event).where(Event.item_id == self.item.id).order_by(Event.id.desc())
        )
        own = (f"annotation:{self.who.id}", f"late:{self.who.id}")
        return [
            {
                "id": one.id,
                "time": one.time,
                "person": one.person_id,
                "name": named.get(one.person_id or 0, ""),
                "kind": one.kind,
                "subject": one.subject,
                "before": one.before,
                "after": one.after,
                "undoes": one.undoes,
            }
            for one in rows
            if not self.hidden or one.subject in own
        ]
