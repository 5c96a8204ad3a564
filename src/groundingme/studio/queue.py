"""Which items there are for a person, who looks at one now, and what of it may be seen.

An item is given to as many people as the project's overlap says. One that somebody was given and
did not begin within `LEASE` is given to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql, sqlite

from groundingme.studio.database import now
from groundingme.studio.models import Annotation, Assignment, Item, Project, Visit
from groundingme.studio.models import Person as PersonRow
from groundingme.studio.people import Person
from groundingme.studio.work import DECIDED

LEASE = timedelta(minutes=30)
HERE = timedelta(seconds=30)
"""After which somebody who said nothing more has gone."""
FEW = 8_000
"""Notes of what a person was given or has begun, from which on the project is walked through.

Up to there one begins with what is theirs. Both find the same.
"""


def is_hidden(project: Project, item: Item, who: Person, mine: str | None, given: bool) -> bool:
    """Whether a person must not see the others' work on an item yet.

    Args:
        project: Of the item.
        item: The item.
        who: Who asks.
        mine: State of their own annotation; None where there is none.
        given: Whether the item was given to them.
    """
    if not project.blind or item.status in DECIDED:
        return False
    if project.kind == "presence" and not who.may("reviewer"):
        return True
    return mine != "submitted" and (not who.may("reviewer") or given or mine is not None)


def shown_status(project: Project, who: Person) -> sa.ColumnElement[str]:
    """The status as a person may see it: in a blind project their own, until it is decided.

    The query must join `Annotation` as the person's own.
    """
    if not project.blind or who.may("reviewer"):
        return Item.status.expression
    return sa.case(
        (Item.status.in_(DECIDED), Item.status),
        (Annotation.state == "submitted", "annotated"),
        (Annotation.state == "skipped", "skipped"),
        else_="open",
    )


class Filter(NamedTuple):
    """Which items of a project; what is empty leaves all.

    Attributes:
        status: As the person may see it.
        l1: Category as proposed.
        l2: Subtask as proposed.
        label: Class as proposed.
        mine: Given to the person, or begun by them.
        flag: Flagged for a reviewer; in a blind project, before it is decided, by the person.
    """

    status: str = ""
    l1: str = ""
    l2: str = ""
    label: str = ""
    mine: bool = False
    flag: bool = False


def shown_flag(project: Project, who: Person) -> sa.ColumnElement[bool]:
    """Whether an item is flagged, as a person may see it. See `shown_status`."""
    if not project.blind or who.may("reviewer"):
        return Item.flagged.expression
    own = sa.func.coalesce(Annotation.document["flag"].as_boolean(), sa.false())
    return sa.case((Item.status.in_(DECIDED), Item.flagged), else_=own)


def listed(
    session: orm.Session,
    project: Project,
    who: Person,
    asked: Filter,
    *,
    offset: int = 0,
    limit: int = 200,
) -> tuple[list[tuple[Item, str, str | None, bool]], int]:
    """Items, their status, the state of the person's own annotation, whether they are flagged.

    Returns:
        Those of one page, and how many there are.
    """
    few = asked.mine and _has_few(session, who)
    ids = _filtered(sa.select(Item.id), project, who, asked, few=few)
    total = session.scalar(sa.select(sa.func.count()).select_from(ids.subquery())) or 0
    count = min(limit, total - offset)
    if count <= 0:
        return [], total
    # What is skipped must be counted off, so it is done from the nearer end, and with ids alone.
    place: list[sa.ColumnElement[int]] = [_place(few), Item.id.expression]
    skipped = offset
    if offset > total // 2:
        place, skipped = [one.desc() for one in place], total - offset - count
    page = ids.order_by(*place).offset(skipped).limit(count)
    columns: Any = (Item, shown_status(project, who), Annotation.state, shown_flag(project, who))
    wanted = _mine(sa.select(*columns), who).where(Item.id.in_(page))
    rows = session.execute(wanted.order_by(_place(few=True), Item.id))
    return [(one, said, state, bool(flag)) for one, said, state, flag in rows], total


def following(
    session: orm.Session, project: Project, who: Person, asked: Filter, after: int | None
) -> Item | None:
    """The next item of those asked for, given to nobody; after the last comes the first."""
    few = asked.mine and _has_few(session, who)
    wanted = _filtered(sa.select(Item), project, who, asked, few=few)
    return _one(session, wanted, _order(session, project, after), after, few=few)


def take(
    session: orm.Session, project: Project, who: Person, after: int | None, *, give: bool = True
) -> Item | None:
    """The next item for a person to annotate: what they have begun, or else a fresh one.

    Args:
        session: Of `Database.write` where `give`.
        project: Its row is locked, so that no item is given away twice.
        who: The person.
        after: Id of the item before them, which is not given again; None to start.
        give: Whether the item is noted as theirs.
    """
    if give:
        session.execute(sa.select(Project.id).where(Project.id == project.id).with_for_update())
    order = _order(session, project, after)
    begun = sa.select(Item).where(
        Item.project_id == project.id, Item.status == "open", Item.id.in_(_unfinished(who))
    )
    ahead = begun if after is None else begun.where(Item.order > order)
    return (
        _one(session, ahead, order, after, few=True)
        or _fresh(session, project, who, order, after, give)
        or _one(session, begun, order, after, few=True)
    )


def _fresh(
    session: orm.Session, project: Project, who: Person, order: int, after: int | None, give: bool
) -> Item | None:
    since = (datetime.now(UTC) - LEASE).isoformat(timespec="microseconds")
    begun = sa.exists().where(
        Annotation.item_id == Assignment.item_id, Annotation.person_id == Assignment.person_id
    )
    taken = (
        sa.select(sa.func.count())
        .select_from(Assignment)
        .where(
            Assignment.item_id == Item.id,
            sa.or_(Assignment.created > since, Assignment.given_by.is_not(None), begun),
        )
        .correlate(Item)
        .scalar_subquery()
    )
    wanted = (
        _mine(sa.select(Item), who)
        .where(Item.project_id == project.id, Item.status == "open", Annotation.id.is_(None))
        .where(~_given(who), taken < project.overlap)
    )
    found = _one(session, wanted, order, after)
    if found is not None and give:
        assign(session, found.id, who.id)
    return found


def assign(session: orm.Session, item_id: int, person_id: int, given_by: int | None = None) -> None:
    """Notes that an item was given to a person, by the queue or by somebody."""
    key = {"item_id": item_id, "person_id": person_id}
    _upsert(session, Assignment, key, created=now(), given_by=given_by)


def give(
    session: orm.Session, project: Project, to: Person, by: Person, asked: Filter, count: int
) -> int:
    """Gives a person the first items that are open and still want somebody; how many it were.

    Unlike those that the queue hands out, they stay theirs until they are taken back.

    Args:
        session: Of `Database.write`.
        project: Its row is locked, so that no item is given away twice.
        to: Who is to annotate.
        by: Who says so.
        asked: Which items, as `by` sees them.
        count: How many at most.
    """
    session.execute(sa.select(Project.id).where(Project.id == project.id).with_for_update())
    others = (
        sa.select(sa.func.count())
        .select_from(Assignment)
        .where(Assignment.item_id == Item.id, Assignment.person_id != to.id)
        .correlate(Item)
        .scalar_subquery()
    )
    named = sa.exists().where(
        Assignment.item_id == Item.id,
        Assignment.person_id == to.id,
        Assignment.given_by.is_not(None),
    )
    begun = sa.exists().where(Annotation.item_id == Item.id, Annotation.person_id == to.id)
    wanted = (
        _filtered(sa.select(Item.id), project, by, asked)
        .where(Item.status == "open", others < project.overlap, ~named)
        .where(~begun.correlate(Item))
    )
    found = session.scalars(wanted.order_by(Item.order).limit(count)).all()
    for id in found:
        assign(session, id, to.id, by.id)
    return len(found)


def take_back(session: orm.Session, project: Project, person_id: int) -> int:
    """Takes back what a person was given and did not begin; how many it were."""
    begun = sa.exists().where(
        Annotation.item_id == Assignment.item_id, Annotation.person_id == person_id
    )
    theirs = sa.select(Item.id).where(Item.project_id == project.id)
    done: Any = session.execute(
        sa.delete(Assignment)
        .where(Assignment.person_id == person_id, Assignment.item_id.in_(theirs), ~begun)
        .execution_options(synchronize_session=False)
    )
    return int(done.rowcount)


def assigned(session: orm.Session, items: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Who has each item: `{"id", "name"}`."""
    found: dict[int, list[dict[str, Any]]] = {one: [] for one in items}
    rows = session.execute(
        sa.select(Assignment.item_id, PersonRow.id, PersonRow.name)
        .join(PersonRow, PersonRow.id == Assignment.person_id)
        .where(Assignment.item_id.in_(items))
        .order_by(Assignment.id)
    )
    for item, id, name in rows:
        found[item].append({"id": id, "name": name})
    return found


def come(session: orm.Session, item_id: int, who: Person) -> None:
    """Notes that a person has an item before them."""
    _upsert(session, Visit, {"item_id": item_id, "person_id": who.id}, seen=now())


def present(session: orm.Session, item_id: int, who: Person) -> list[dict[str, Any]]:
    """The others who have an item before them: `{"id", "name", "seen"}`."""
    since = (datetime.now(UTC) - HERE).isoformat(timespec="microseconds")
    rows = session.execute(
        sa.select(PersonRow.id, PersonRow.name, Visit.seen)
        .join(PersonRow, PersonRow.id == Visit.person_id)
        .where(Visit.item_id == item_id, Visit.seen > since, Visit.person_id != who.id)
        .order_by(PersonRow.name)
    )
    return [{"id": id, "name": name, "seen": seen} for id, name, seen in rows]


def _filtered(
    wanted: sa.Select[Any], project: Project, who: Person, asked: Filter, *, few: bool = True
) -> sa.Select[Any]:
    wanted = _mine(wanted, who).where(Item.project_id == project.id)
    if asked.mine and few:
        wanted = wanted.where(Item.id.in_(_theirs(who)))
    elif asked.mine:
        given = orm.aliased(Assignment)
        wanted = wanted.outerjoin(
            given, sa.and_(given.item_id == Item.id, given.person_id == who.id)
        ).where(sa.or_(Annotation.id.is_not(None), given.id.is_not(None)))
    if asked.status:
        wanted = wanted.where(shown_status(project, who) == asked.status)
    if asked.flag:
        wanted = wanted.where(shown_flag(project, who))
    proposed = (Item.subtask_l1, asked.l1), (Item.subtask_l2, asked.l2), (Item.label, asked.label)
    for column, value in proposed:
        if value and project.kind != "presence":
            wanted = wanted.where(column == value)
    return wanted


def _mine(wanted: sa.Select[Any], who: Person) -> sa.Select[Any]:
    return wanted.outerjoin(
        Annotation, sa.and_(Annotation.item_id == Item.id, Annotation.person_id == who.id)
    )


def _given(who: Person) -> sa.ColumnElement[bool]:
    return sa.exists().where(Assignment.item_id == Item.id, Assignment.person_id == who.id)


def _theirs(who: Person) -> sa.CompoundSelect[Any]:
    """Ids of what was given to a person or begun by them, of all projects.

    Said by themselves, as databases then begin with these few and not with all items.
    """
    return sa.union(*_notes(who))


def _notes(who: Person) -> tuple[sa.Select[Any], sa.Select[Any]]:
    return (
        sa.select(Annotation.item_id).where(Annotation.person_id == who.id),
        sa.select(Assignment.item_id).where(Assignment.person_id == who.id),
    )


def _has_few(session: orm.Session, who: Person) -> bool:
    notes = sa.union_all(*_notes(who)).limit(FEW + 1).subquery()
    return (session.scalar(sa.select(sa.func.count()).select_from(notes)) or 0) <= FEW


def _unfinished(who: Person) -> sa.CompoundSelect[Any]:
    """Ids of what a person has begun and not submitted, or was given and has not begun."""
    begun = sa.exists().where(
        Annotation.item_id == Assignment.item_id, Annotation.person_id == who.id
    )
    return sa.union(
        sa.select(Annotation.item_id).where(
            Annotation.person_id == who.id, Annotation.state == "draft"
        ),
        sa.select(Assignment.item_id).where(Assignment.person_id == who.id, ~begun),
    )


def _order(session: orm.Session, project: Project, after: int | None) -> int:
    if after is None:
        return -1
    found = session.scalar(
        sa.select(Item.order).where(Item.id == after, Item.project_id == project.id)
    )
    return -1 if found is None else found


def _place(few: bool) -> sa.ColumnElement[int]:
    """What items are sorted by.

    Where they are found by a person's own, the index of the order must not be used: PostgreSQL
    would walk through all items of the project until it has met enough of theirs.
    """
    return Item.order + 0 if few else Item.order.expression


def _one(
    session: orm.Session,
    wanted: sa.Select[Any],
    order: int,
    after: int | None,
    *,
    few: bool = False,
) -> Item | None:
    """The first in order after a place, going round; never the item at that place."""
    if after is not None:
        wanted = wanted.where(Item.id != after)
    first = wanted.order_by(_place(few)).limit(1)
    # Two questions, as each walks the index up to its answer; one over both would sort all.
    found: Item | None = session.scalar(first.where(Item.order > order))
    if found is None and order >= 0:
        found = session.scalar(first.where(Item.order <= order))
    return found


def _upsert(session: orm.Session, table: type[Any], key: dict[str, int], **values: Any) -> None:
    kind = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(
        kind.insert(table)
        .values(**key, **values)
        .on_conflict_do_update(index_elements=list(key), set_=values)
    )
