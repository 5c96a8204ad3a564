"""Working on an item: saving, submitting, deciding, undoing. Nothing is overwritten unseen.

Whoever changes something says which version it was that they saw. In a project where one person
does each item (`overlap` 1, not blind) that is the item's version, so the second of two people on
one item is told; elsewhere people work side by side, and it is the version of their own
annotation, so that only another window of theirs can get in the way. What came too late is
answered with both sides and what they started from, and is kept in the audit trail.

Every change and its event are one transaction, in which the item's row is locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from groundingme.studio import documents
from groundingme.studio.database import now
from groundingme.studio.documents import Document
from groundingme.studio.errors import ApiError, not_found
from groundingme.studio.models import Annotation, Event, Item, Project
from groundingme.studio.people import Person

DECIDED = ("accepted", "rejected")
STATUSES = ("open", "annotated", "conflict", *DECIDED, "skipped")

DECISION = "decision"
"""Subject of the events of reviewers."""
LATE = "conflict"
"""Kind of the events that keep what came too late. They change nothing."""


class Late(NamedTuple):
    """What came too late: the transaction must be kept, and the answer is 409.

    Attributes:
        message: In a line.
        more: `theirs`, `yours`, `base`, `version`, and whose the other one is.
    """

    message: str
    more: dict[str, Any]

    def error(self) -> ApiError:
        """As the API answers."""
        return ApiError(409, "conflict", self.message, **self.more)


class Desk:
    """One item as one person works on it, in one transaction.

    Args:
        session: Of `Database.write`.
        item_id: Of the item.
        who: The person.

    Raises:
        ApiError: 404 where there is no such item.
    """

    def __init__(self, session: orm.Session, item_id: int, who: Person) -> None:
        row = session.execute(
            sa.select(Item, Project)
            .join(Project, Project.id == Item.project_id)
            .where(Item.id == item_id)
            .with_for_update(of=Item)
        ).one_or_none()
        if row is None:
            raise not_found("an item", str(item_id))
        self.session, self.who = session, who
        self.item: Item = row[0]
        self.project: Project = row[1]
        self.shared = is_shared(self.project)
        self.everybody = list(annotations_of(session, item_id))

    def annotation(self, person_id: int) -> Annotation | None:
        """One person's."""
        return next((one for one in self.everybody if one.person_id == person_id), None)

    def put(
        self, version: int, document: Document | None, state: str | None = None, kind: str = "save"
    ) -> dict[str, Any] | Late:
        """Saves the person's annotation.

        Args:
            version: That the person saw.
            document: None leaves it as it is.
            state: `draft`, `submitted` or `skipped`; None leaves it, unless a submitted document
                is no longer complete.
            kind: Of the event.

        Returns:
            `version`, `state` and `status`; or what came too late.

        Raises:
            ApiError: 403 where a blind annotation was submitted, 422 where it is not complete.
        """
        mine = self.annotation(self.who.id)
        target = self.item.target
        told = start(self.project, self.item, self.everybody, self.who.id)
        if document is not None:
            told = documents.fitted(document, target["width"], target["height"])
        lacks = documents.missing(told, self.project.kind)
        if state == "submitted" and lacks:
            raise ApiError(422, "incomplete", f"expected {lacks} before it is submitted, got none")
        if state is None:
            state = mine.state if mine and not (mine.state == "submitted" and lacks) else "draft"
        if mine and (mine.document, mine.state) == (told, state):
            # Also where the answer to an earlier try was lost on its way.
            return self._saved(mine)
        if self.project.blind and mine and mine.state == "submitted":
            # Who has submitted sees the others' work, and must not follow it.
            self._need("reviewer", "change what was submitted blind")
        seen = self.item.version if self.shared else _version(mine)
        if version != seen or self.item.status in DECIDED:
            return self._late(version, told, None if self.shared else f"annotation:{self.who.id}")
        return self._saved(self._write(self.who.id, told, state, kind))

    def reopen(self, person_id: int | None = None) -> dict[str, Any]:
        """Takes a decision back, or makes an annotation a draft again.

        Args:
            person_id: Whose annotation a reviewer reopens; None for one's own.
        """
        if self.item.status in DECIDED:
            self._need("reviewer", "reopen what was decided")
            self._decide(None, "reopen")
            return self._state()
        if person_id not in (None, self.who.id):
            self._need("reviewer", "reopen another's annotation")
        mine = self.annotation(person_id or self.who.id)
        if mine is None:
            raise not_found("an annotation to reopen", str(person_id or self.who.id))
        if self.project.blind:
            self._need("reviewer", "reopen a blind annotation")
        if mine.state != "draft":
            mine = self._write(mine.person_id, mine.document, "draft", "reopen")
        return self._saved(mine)

    def decide(
        self, version: int, accept: bool, document: Document | None, note: str
    ) -> dict[str, Any] | Late:
        """A reviewer's decision, with the document that is published."""
        self._need("reviewer", "decide")
        target = self.item.target
        told = self._best()
        if document is not None:
            told = documents.fitted(document, target["width"], target["height"])
        lacks = documents.missing(told, self.project.kind)
        if accept and lacks:
            raise ApiError(422, "incomplete", f"expected {lacks} before it is accepted, got none")
        made = {
            "accept": accept, "document": told, "note": note, "person": self.who.id, "time": now(),
        }  # fmt: skip
        there = self.item.decision
        if there and {**there, "time": ""} == {**made, "time": ""}:
            return self._state()
        if version != self.item.version:
            return self._late(version, told, None)
        self._decide(made, "decide")
        return self._state()

    def undo(self, event_id: int) -> dict[str, Any] | Late:
        """Takes one change back, if nothing came after it; an undo can be undone."""
        event = self.session.get(Event, event_id)
        if event is None or event.item_id != self.item.id or event.kind == LATE:
            raise not_found("a change of this item", str(event_id))
        if event.person_id != self.who.id:
            self._need("reviewer", "undo what another did")
        is_decision = event.subject == DECISION
        if is_decision:
            self._need("reviewer", "undo a decision")
        elif self.project.blind and "submitted" in (
            self._state_of(event.before),
            self._state_of(event.after),
        ):
            self._need("reviewer", "undo what was submitted blind")
        owner = 0 if is_decision else int(event.subject.partition(":")[2])
        one = None if is_decision else self.annotation(owner)
        present = self.item.decision if is_decision else snapshot(one)
        if present != event.after:
            return Late(
                "expected the last change of it, got an earlier one; undo the later ones first",
                {"theirs": present, "yours": event.before, "base": event.after,
                 "version": self.item.version},
            )  # fmt: skip
        if is_decision:
            self._decide(event.before, "undo", undoes=event.id)
            return self._state()
        before = event.before or {
            "state": "draft", "document": documents.first(self.item.target, self.project.kind)
        }  # fmt: skip
        return self._saved(
            self._write(owner, before["document"], before["state"], "undo", undoes=event.id)
        )

    @staticmethod
    def _state_of(told: dict[str, Any] | None) -> str:
        return told["state"] if told else ""

    def _need(self, role: str, what: str) -> None:
        if not self.who.may(role):
            raise ApiError(403, "forbidden", f"expected a {role} to {what}, got {self.who.role}")

    def _best(self) -> dict[str, Any]:
        return best(self.item, self.everybody, self.project.kind)

    def _write(
        self,
        person_id: int,
        document: dict[str, Any],
        state: str,
        kind: str,
        undoes: int | None = None,
    ) -> Annotation:
        one = self.annotation(person_id)
        before = snapshot(one)
        self.item.version += 1
        if one is None:
            one = Annotation(item_id=self.item.id, person_id=person_id, version=0)
            self.session.add(one)
            self.everybody.append(one)
        one.version = self.item.version if self.shared else one.version + 1
        one.state, one.document, one.updated = state, document, now()
        self._tell(kind, f"annotation:{person_id}", one.version, before, snapshot(one), undoes)
        self._refresh()
        return one

    def _decide(self, made: dict[str, Any] | None, kind: str, undoes: int | None = None) -> None:
        before = self.item.decision
        self.item.version += 1
        self.item.decision = made
        self._tell(kind, DECISION, self.item.version, before, made, undoes)
        self._refresh()

    def _tell(
        self,
        kind: str,
        subject: str,
        version: int,
        before: Any,
        after: Any,
        undoes: int | None = None,
    ) -> None:
        event = Event(kind=kind, subject=subject, version=version, before=before, after=after)
        event.time, event.person_id, event.undoes = now(), self.who.id, undoes
        event.project_id, event.item_id = self.project.id, self.item.id
        self.session.add(event)

    def _refresh(self) -> None:
        self.item.status = status(self.project, self.item, self.everybody)
        self.item.flagged = any(one.document["flag"] for one in self.everybody)

    def _saved(self, one: Annotation) -> dict[str, Any]:
        return {"version": one.version, "state": one.state, "status": self.item.status}

    def _state(self) -> dict[str, Any]:
        return {"version": self.item.version, "status": self.item.status}

    def _late(self, version: int, yours: dict[str, Any], subject: str | None) -> Late:
        """Keeps what came too late, and says what is there instead.

        Args:
            version: That the person saw.
            yours: What they sent.
            subject: Of the events that count; None for all, where they share one version.
        """
        last, kind = self._last(subject), self.project.kind
        first = documents.first(self.item.target, kind)
        decision = self.item.decision
        theirs = decision["document"] if decision else _document(last) or first
        comparable = self.shared or subject is not None
        base = _document(self._last(subject, version)) if comparable else None
        kept = self._last(f"late:{self.who.id}", kinds=(LATE,))
        if kept is None or kept.after != yours:
            self._tell(LATE, f"late:{self.who.id}", 0, None, yours)
        mine = self.annotation(self.who.id)
        return Late(
            "expected the item as you saw it, got a newer one: it was "
            f"{'decided' if decision else 'changed'} meanwhile; merge the two",
            {
                "theirs": theirs,
                "yours": yours,
                "base": base or first,
                "version": self.item.version if subject is None else _version(mine),
                "person": last.person_id if last else None,
                "decided": decision is not None,
            },
        )

    def _last(
        self, subject: str | None, version: int | None = None, kinds: tuple[str, ...] = ()
    ) -> Event | None:
        """The last change, of a subject or of all, up to a version or at all."""
        wanted = sa.select(Event).where(Event.item_id == self.item.id)
        wanted = wanted.where(Event.kind.in_(kinds) if kinds else Event.kind != LATE)
        if subject is not None:
            wanted = wanted.where(Event.subject == subject)
        if version is not None:
            wanted = wanted.where(Event.version <= version)
        return self.session.scalar(wanted.order_by(Event.id.desc()).limit(1))


def is_shared(project: Project) -> bool:
    """Whether people see and continue each other's work on an item."""
    return project.overlap == 1 and not project.blind


def annotations_of(session: orm.Session, item_id: int) -> Sequence[Annotation]:
    """Everybody's annotations of an item, in the order in which they were begun."""
    return session.scalars(
        sa.select(Annotation).where(Annotation.item_id == item_id).order_by(Annotation.id)
    ).all()


def _version(one: Annotation | None) -> int:
    return one.version if one else 0


def start(
    project: Project, item: Item, them: Sequence[Annotation], person_id: int
) -> dict[str, Any]:
    """The document that a person goes on with: their own, or where work is shared the last one."""
    if is_shared(project):
        mine = sorted(them, key=lambda one: one.version)
    else:
        mine = [one for one in them if one.person_id == person_id]
    return mine[-1].document if mine else documents.first(item.target, project.kind)


def snapshot(one: Annotation | None) -> dict[str, Any] | None:
    """What events keep of an annotation."""
    return None if one is None else {"state": one.state, "document": one.document}


def status(project: Project, item: Item, them: Sequence[Annotation]) -> str:
    """Where an item stands, from its decision and everybody's annotations."""
    if item.decision is not None:
        return "accepted" if item.decision["accept"] else "rejected"
    done = [one.document for one in them if one.state == "submitted"]
    skipped = sum(one.state == "skipped" for one in them)
    if len(done) >= project.overlap:
        return (
            "conflict"
            if any(documents.differences(done[0], one) for one in done[1:])
            else "annotated"
        )
    return "skipped" if len(done) + skipped >= project.overlap else "open"


def best(item: Item, them: Sequence[Annotation], kind: str) -> dict[str, Any]:
    """The document to go on with: decided, submitted last, saved last, or as proposed."""
    if item.decision is not None:
        decided: dict[str, Any] = item.decision["document"]
        return decided
    order = sorted(them, key=lambda one: (one.state == "submitted", one.updated))
    return order[-1].document if order else documents.first(item.target, kind)


def _document(event: Event | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = event.after["document"] if event and event.after else None
    return found
