"""The tables: who people are, what they annotate, and every change that they made.

    Person - Token, Login                   who may come in
    Project - Item - Annotation             one annotation a person and item, with its version
                   - Assignment, Visit      who is to do an item, who looks at it now
    Event                                   the audit trail: before and after of every change

Secrets are kept as digests alone. Documents are JSON; their fields are those of `documents`.
Times are ISO 8601, UTC, as text, so that both databases sort and compare them alike.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, String, Text, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Document = dict[str, Any]


class Base(DeclarativeBase):
    """Names of constraints are the same in every database, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {Document: JSON, str: Text}  # noqa: RUF012


class Person(Base):
    """Somebody who annotates or reviews."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[str] = mapped_column(String(40))


class Token(Base):
    """What a person logs in with, as a digest."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[str] = mapped_column(String(40))


class Login(Base):
    """A browser that somebody is logged in with; its cookie, as a digest."""

    __tablename__ = "login"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[str] = mapped_column(String(40))
    expires: Mapped[str] = mapped_column(String(40))


class Project(Base):
    """Items that people work on together, and the rules of it."""

    __tablename__ = "project"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    source: Mapped[str]
    overlap: Mapped[int]
    blind: Mapped[bool]
    notes: Mapped[Document]
    created: Mapped[str] = mapped_column(String(40))
    created_by: Mapped[int] = mapped_column(ForeignKey("person.id"))


class Item(Base):
    """One sample in the making. `target` is what it started from, a `build.records.Target`."""

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index(None, "project_id", "status", "order"),
        Index(None, "project_id", "order"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    order: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="open")
    version: Mapped[int] = mapped_column(default=0)
    flagged: Mapped[bool] = mapped_column(default=False, server_default=false())
    label: Mapped[str] = mapped_column(default="")
    subtask_l1: Mapped[str] = mapped_column(default="")
    subtask_l2: Mapped[str] = mapped_column(default="")
    target: Mapped[Document]
    decision: Mapped[Document | None] = mapped_column(JSON(none_as_null=True))


class Annotation(Base):
    """What one person says of one item."""

    __tablename__ = "annotation"
    __table_args__ = (UniqueConstraint("item_id", "person_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    document: Mapped[Document]
    updated: Mapped[str] = mapped_column(String(40))


class Assignment(Base):
    """An item that was given to a person: by the queue, or by `given_by`."""

    __tablename__ = "assignment"
    __table_args__ = (UniqueConstraint("item_id", "person_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    created: Mapped[str] = mapped_column(String(40))
    given_by: Mapped[int | None] = mapped_column(ForeignKey("person.id"))


class Visit(Base):
    """When a person last had an item before them."""

    __tablename__ = "visit"
    __table_args__ = (UniqueConstraint("item_id", "person_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    seen: Mapped[str] = mapped_column(String(40))


class Event(Base):
    """A change: who, when, of what, before and after. Rows are added, never altered.

    `subject` says what changed: `annotation:PERSON`, `decision`, `project` or `person:PERSON`.
    `version` is the one that the change gave to it; 0 where it has none.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "item_id", "subject", "version"),
        Index(None, "project_id", "kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[str] = mapped_column(String(40))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    item_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"))
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(40))
    version: Mapped[int] = mapped_column(default=0)
    before: Mapped[Document | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[Document | None] = mapped_column(JSON(none_as_null=True))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("event.id"))
