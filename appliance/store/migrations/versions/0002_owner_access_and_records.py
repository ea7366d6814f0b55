"""The owner's sign-in, access for others, the audit log, and what a call knows of its guest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables of access and the columns of calls."""
    _sign_in()
    _access()
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object", sa.String(200), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("before", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    op.create_table(
        "licences",
        sa.Column("model_id", sa.String(128), primary_key=True),
        sa.Column("licence", sa.String(200), nullable=False),
        sa.Column("accepted_at", _MOMENT, nullable=False),
        sa.Column("accepted_by", sa.String(120), nullable=False),
    )
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(
            sa.Column("origin", sa.String(16), nullable=False, server_default="page")
        )
        sessions.add_column(
            sa.Column("caller_name", sa.String(80), nullable=False, server_default="")
        )
        sessions.add_column(sa.Column("link_id", sa.String(32)))
        sessions.add_column(sa.Column("max_s", sa.Integer()))
        sessions.add_column(
            sa.Column("text_only", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        for side in ("caller", "owner"):
            sessions.add_column(sa.Column(f"{side}_thumb", sa.Integer()))
            sessions.add_column(
                sa.Column(f"{side}_note", sa.Text(), nullable=False, server_default="")
            )
    op.create_index("ix_sessions_ended", "sessions", ["ended_at"])


def _sign_in() -> None:
    op.create_table(
        "owner",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "sign_ins",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(200), nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_index("ix_attempts_at", "attempts", ["at"])


def _access() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT),
        sa.Column("used_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
    )
    op.create_table(
        "links",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("persona", sa.String(64), nullable=False),
        sa.Column("uses_allowed", sa.Integer()),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("max_s", sa.Integer()),
        sa.Column("text_only", sa.Boolean(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("valid_until", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
    )


def downgrade() -> None:
    """Drop what was added."""
    for table in ("licences", "audit", "links", "api_keys", "attempts", "sign_ins", "owner"):
        op.drop_table(table)
    op.drop_index("ix_sessions_ended", "sessions")
    with op.batch_alter_table("sessions") as sessions:
        for column in ("origin", "caller_name", "link_id", "max_s", "text_only"):
            sessions.drop_column(column)
        for side in ("caller", "owner"):
            sessions.drop_column(f"{side}_thumb")
            sessions.drop_column(f"{side}_note")
