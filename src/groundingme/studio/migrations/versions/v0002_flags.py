"""Flags can be asked for, items are given to people by name, data sets are a kind of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "item", sa.Column("flagged", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    with op.batch_alter_table("assignment") as table:
        table.add_column(sa.Column("given_by", sa.Integer(), nullable=True))
        table.create_foreign_key("fk_assignment_given_by", "person", ["given_by"], ["id"])
    _find_flags()
    _name_data_sets()


def _find_flags() -> None:
    annotation = sa.table("annotation", sa.column("item_id"), sa.column("document", sa.JSON))
    item = sa.table("item", sa.column("id"), sa.column("flagged", sa.Boolean))
    connection = op.get_bind()
    rows = connection.execute(sa.select(annotation.c.item_id, annotation.c.document))
    flagged = {id for id, document in rows if document.get("flag")}
    for id in flagged:
        connection.execute(sa.update(item).where(item.c.id == id).values(flagged=True))


def _name_data_sets() -> None:
    """Of what a data set holds nobody is unsure, and nothing else was looked for: a detector's
    proposals have scores below 1 or others of their class."""
    project = sa.table("project", sa.column("id"), sa.column("kind"))
    item = sa.table("item", sa.column("project_id"), sa.column("target", sa.JSON))
    connection = op.get_bind()
    for (id,) in connection.execute(
        sa.select(project.c.id).where(project.c.kind == "build")
    ).fetchall():
        rows = connection.execute(
            sa.select(item.c.target).where(item.c.project_id == id).limit(1000)
        )
        if all(one["score"] == 1.0 and not one["others"] for (one,) in rows):
            connection.execute(sa.update(project).where(project.c.id == id).values(kind="data"))
