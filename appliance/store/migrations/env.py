"""Alembic's entry: runs the migrations on the connection that ``upgrade`` holds."""

from __future__ import annotations

from alembic import context

from appliance.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can roll back DDL; Alembic assumes that it cannot.
    transactional_ddl=True,
)
context.run_migrations()
