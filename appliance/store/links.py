"""Join links: made, counted with each call, taken back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import Connection, CursorResult, RowMapping, delete, insert, select, update

from appliance.errors import ApplianceError, NotFound
from appliance.store.database import Database
from appliance.store.models import LinkRow, SessionRow

_LINKS = LinkRow.__table__.c
_SESSIONS = SessionRow.__table__.c
LinkState = Literal["open", "revoked", "expired", "used_up"]
# Inside the class `list` is the method.
LinkList = list["Link"]


class LinkOver(ApplianceError):
    """The link was genuine once and opens no more calls."""

    http_status: ClassVar[int] = 410


@dataclass(frozen=True)
class Terms:
    """What a link allows."""

    name: str
    persona: str
    uses_allowed: int | None = None
    """Calls; None: any number."""
    max_s: int | None = None
    """Longest call in seconds; None: the box's own limit."""
    text_only: bool = False
    valid_until: datetime | None = None


@dataclass(frozen=True)
class Link:
    """One join link. Times are in UTC."""

    id: str
    name: str
    persona: str
    uses_allowed: int | None
    uses: int
    max_s: int | None
    text_only: bool
    created_at: datetime
    valid_until: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> LinkState:
        """Whether it opens calls at this moment, or why not."""
        if self.revoked_at is not None:
            return "revoked"
        if self.valid_until is not None and self.valid_until <= now:
            return "expired"
        if self.uses_allowed is not None and self.uses >= self.uses_allowed:
            return "used_up"
        return "open"

    def require(self, now: datetime) -> None:
        """Pass if it opens a call now.

        Raises:
            LinkOver: says why it does not.
        """
        state = self.state(now)
        if state == "revoked":
            raise LinkOver(
                "link_revoked", "This link has been taken back.", "Ask whoever sent it for a new one."
            )  # fmt: skip
        if state == "expired":
            raise LinkOver(
                "link_expired", "This link is no longer valid.", "Ask whoever sent it for a new one."
            )  # fmt: skip
        if state == "used_up":
            raise LinkOver(
                "link_used_up", "This link has been used as often as it may be.",
                "Ask whoever sent it for a new one.",
            )  # fmt: skip


class Links:
    """The join links."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, terms: Terms) -> Link:
        """Keep a new link."""
        values: dict[str, Any] = {
            "id": secrets.token_hex(8),
            "name": terms.name,
            "persona": terms.persona,
            "uses_allowed": terms.uses_allowed,
            "uses": 0,
            "max_s": terms.max_s,
            "text_only": terms.text_only,
            "created_at": datetime.now(UTC),
            "valid_until": terms.valid_until,
        }
        with self._database.write() as connection:
            connection.execute(insert(LinkRow).values(values))
        return Link(**values, revoked_at=None)

    def list(self) -> LinkList:
        """Every link, the newest first."""
        query = select(*_LINKS).order_by(_LINKS.created_at.desc(), _LINKS.id)
        with self._database.read() as connection:
            return [_link(row) for row in connection.execute(query).mappings()]

    def get(self, link_id: str) -> Link:
        """The link of this id.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            return _get(connection, link_id)

    def revoke(self, link_id: str) -> Link:
        """Let it open no more calls; the first time counts.

        Raises:
            NotFound: there is none.
        """
        with self._database.write() as connection:
            connection.execute(
                update(LinkRow)
                .where(_LINKS.id == link_id, _LINKS.revoked_at.is_(None))
                .values(revoked_at=datetime.now(UTC))
            )
            return _get(connection, link_id)

    def delete(self, link_id: str) -> None:
        """Forget it; its address then leads nowhere, as if it had never been.

        Raises:
            NotFound: there is none.
        """
        with self._database.write() as connection:
            gone: CursorResult[Any] = connection.execute(
                delete(LinkRow).where(_LINKS.id == link_id)
            )
            if gone.rowcount != 1:
                raise _unknown()


def use_link(connection: Connection, link_id: str) -> None:
    """Count one call, in the transaction that begins it.

    Raises:
        NotFound: there is no such link.
        LinkOver: it opens no more calls.
    """
    _get(connection, link_id, lock=True).require(datetime.now(UTC))
    connection.execute(update(LinkRow).where(_LINKS.id == link_id).values(uses=_LINKS.uses + 1))


def give_use_back(connection: Connection, session_id: str) -> None:
    """A guest who never came into the room has not used the link."""
    link_id = (
        select(_SESSIONS.link_id)
        .where(_SESSIONS.id == session_id, _SESSIONS.joined_at.is_(None))
        .scalar_subquery()
    )
    connection.execute(
        update(LinkRow).where(_LINKS.id == link_id, _LINKS.uses > 0).values(uses=_LINKS.uses - 1)
    )


def _get(connection: Connection, link_id: str, *, lock: bool = False) -> Link:
    query = select(*_LINKS).where(_LINKS.id == link_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise _unknown()
    return _link(row)


def _unknown() -> NotFound:
    return NotFound("link_unknown", "There is no such link.", "The page Access lists all of them.")


def _link(row: RowMapping) -> Link:
    return Link(**row)
