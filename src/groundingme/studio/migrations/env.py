"""Run by Alembic: brings a database, whose connection `database` hands over, up to date."""

from __future__ import annotations

from alembic import context

from groundingme.studio.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
