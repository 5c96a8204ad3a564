"""The queue's filters, against a plain reading of the same rows; both ways to find one's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from groundingme.studio import people, queue
from groundingme.studio.database import Database, now
from groundingme.studio.models import Annotation, Assignment, Item, Project
from groundingme.studio.people import Person
from groundingme.studio.queue import Filter
from groundingme.studio.work import DECIDED
from studio_app import database_url, postgres

__all__ = ["database_url", "postgres"]

STATUSES = ("open", "annotated", "conflict", "skipped", *DECIDED)


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    one = Database(database_url or f"sqlite:///{tmp_path / 'studio.sqlite'}")
    yield one
    one.close()


def fill(database: Database, dice: random.Random) -> list[Person]:
    """Two projects, the second of them blind, and three people; one of them has nothing."""
    with database.write() as session:
        who = [people.add(session, name, "annotator", by=None) for name in ("Ann", "Bob", "Cat")]
        for blind in (False, True):
            project = Project(
                name="P", kind="build", source="", overlap=2, blind=blind, notes={}, created=now(),
                created_by=who[0].id,
            )  # fmt: skip
            session.add(project)
            session.flush()
            count = dice.randint(1, 40)
            # Two imports at once can give a place twice; in the second project they did.
            orders = (
                dice.choices(range(count), k=count) if blind else dice.sample(range(100), count)
            )
            items = [
                Item(
                    project_id=project.id, name=str(n), order=order, status=dice.choice(STATUSES),
                    flagged=dice.random() < 0.4, label=dice.choice("ab"),
                    subtask_l1=dice.choice(("Spatial", "Limited")), subtask_l2="", target={},
                )
                for n, order in enumerate(orders)
            ]  # fmt: skip
            session.add_all(items)
            session.flush()
            for one in items:
                for person in who[:2]:
                    of = {"item_id": one.id, "person_id": person.id}
                    if dice.random() < 0.4:
                        session.add(Assignment(**of, created=now()))
                    if dice.random() < 0.4:
                        state = dice.choice(("draft", "submitted", "skipped"))
                        said = {"flag": dice.random() < 0.4}
                        session.add(
                            Annotation(**of, version=1, state=state, document=said, updated=now())
                        )
        return [Person(one.id, one.name, role) for one in who for role in ("annotator", "reviewer")]


def reading(session: Any, project: Project, who: Person, asked: Filter) -> list[tuple[Any, ...]]:
    """Id, status, state and flag of the items that are asked for, read one by one."""
    found = []
    own = {one.item_id: one for one in session.scalars(sa.select(Annotation))
           if one.person_id == who.id}  # fmt: skip
    given = {one.item_id for one in session.scalars(sa.select(Assignment))
             if one.person_id == who.id}  # fmt: skip
    for one in sorted(session.scalars(sa.select(Item)), key=lambda one: (one.order, one.id)):
        mine = own.get(one.id)
        status, flag = one.status, one.flagged
        if project.blind and who.role == "annotator" and status not in DECIDED:
            status = {"submitted": "annotated", "skipped": "skipped"}.get(
                mine.state if mine else "", "open"
            )
            flag = bool(mine and mine.document["flag"])
        if (
            one.project_id == project.id
            and (not asked.mine or mine or one.id in given)
            and asked.status in ("", status)
            and asked.l1 in ("", one.subtask_l1)
            and asked.label in ("", one.label)
            and (flag or not asked.flag)
        ):
            found.append((one.id, status, mine.state if mine else None, flag))
    return found


@pytest.mark.parametrize("few", [0, queue.FEW])
def test_a_queue_is_what_its_rows_say(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(queue, "FEW", few)
    dice = random.Random(few)
    everybody = fill(database, dice)
    met = 0
    with database.session() as session:
        for project in session.scalars(sa.select(Project)).all():
            for n in range(24):
                who = dice.choice(everybody)
                asked = Filter(
                    status=dice.choice(("", "", *STATUSES)), l1=dice.choice(("", "", "Limited")),
                    label=dice.choice(("", "", "a")), mine=n % 4 > 0, flag=dice.random() < 0.2,
                )  # fmt: skip
                wanted = reading(session, project, who, asked)
                met += asked.mine and len(wanted) > 1
                limit = dice.randint(1, 9)
                pages = [(at, limit) for at in range(0, 1 + len(wanted), limit)]
                for at, most in ((0, 200), *pages):
                    rows, total = queue.listed(session, project, who, asked, offset=at, limit=most)
                    told = [(one.id, *rest) for one, *rest in rows]
                    assert (told, total) == (wanted[at : at + most], len(wanted)), (asked, at, most)
                ids = [id for id, *_ in wanted]
                after = dice.choice(ids) if ids else None
                rest = ids[ids.index(after) + 1 :] + ids[: ids.index(after)] if after else []
                found = queue.following(session, project, who, asked, after)
                if not project.blind:
                    assert (found and found.id) == (rest[0] if rest else None)
    assert met > 8
