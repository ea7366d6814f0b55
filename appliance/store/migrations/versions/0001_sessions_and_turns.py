"""Sessions and turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("room_name", sa.String(64), nullable=False, unique=True),
        sa.Column("persona", sa.String(64), nullable=False),
        sa.Column("keep_transcript", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("joined_at", moment),
        sa.Column("ended_at", moment),
    )
    op.create_index("ix_sessions_state", "sessions", ["state"])
    op.create_index("ix_sessions_created", "sessions", ["created_at"])
    op.create_table(
        "turns",
        sa.Column(
            "session_id", sa.String(32),
            sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True,
        ),
        sa.Column("index", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("user_text", sa.Text()),
        sa.Column("agent_text", sa.Text()),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("ms", sa.JSON(), nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("finished_at", moment),
    )  # fmt: skip


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("turns")
    op.drop_table("sessions")
