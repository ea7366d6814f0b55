"""Which key made a call, so that no other key ends or judges it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; calls from before have none."""
    op.add_column("sessions", sa.Column("key_id", sa.String(32)))


def downgrade() -> None:
    """Drop what was added."""
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("key_id")
