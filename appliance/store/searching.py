"""What a search for calls means in SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Select, String, and_, exists, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from appliance.errors import BadInput
from appliance.store.models import SessionRow, TurnRow
from appliance.store.vocabulary import ACTIVE, Session

Judged = Literal["", "up", "down", "note", "none"]
_EXCERPT = 160
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([0-9]{1,17})-([0-9a-zA-Z]{1,32})")
_SESSIONS = SessionRow.__table__.c
_TURNS = TurnRow.__table__.c


class fold_case(GenericFunction[str]):  # noqa: N801 - the name is the database's function
    """Text without the difference between upper and lower case."""

    type = String()
    inherit_cache = True


@compiles(fold_case, "postgresql")
def _fold_on_postgres(element: fold_case, compiler: Any, **options: Any) -> str:
    # Its lower() follows the database's locale, and leaves two letters that casefold() does not.
    text = f'lower(({compiler.process(element.clauses, **options)}) COLLATE "und-x-icu")'
    return f"replace(replace({text}, 'ß', 'ss'), 'ς', 'σ')"  # noqa: RUF001 - Greek is meant


@dataclass(frozen=True)
class Wanted:
    """Which calls are looked for; what is empty does not matter. Times in UTC."""

    text: str = ""
    """In the words of both sides, the notes and the caller's name; case does not matter."""
    persona: str = ""
    state: str = ""
    """``active``, an ``EndState``, or ``ended``: any of those."""
    origin: str = ""
    link_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is too late."""
    judged: Judged = ""
    """up or down by either side, with a note, or not judged at all."""


def conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.text:
        said = exists().where(
            _TURNS.session_id == _SESSIONS.id,
            or_(_holds(_TURNS.user_text, wanted.text), _holds(_TURNS.agent_text, wanted.text)),
        )
        columns = (_SESSIONS.caller_note, _SESSIONS.owner_note, _SESSIONS.caller_name)
        found.append(or_(said, *(_holds(column, wanted.text) for column in columns)))
    if wanted.state == "ended":
        found.append(_SESSIONS.state != ACTIVE)
    for column, value in (
        (_SESSIONS.state, "" if wanted.state == "ended" else wanted.state),
        (_SESSIONS.persona, wanted.persona),
        (_SESSIONS.origin, wanted.origin),
        (_SESSIONS.link_id, wanted.link_id),
    ):
        if value:
            found.append(column == value)
    if wanted.since is not None:
        found.append(_SESSIONS.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(_SESSIONS.created_at < wanted.until)
    if wanted.judged:
        found.append(_judged(wanted.judged))
    return found


def _judged(how: Judged) -> ColumnElement[bool]:
    thumbs = (_SESSIONS.caller_thumb, _SESSIONS.owner_thumb)
    noted = or_(_SESSIONS.caller_note != "", _SESSIONS.owner_note != "")
    if how == "note":
        return noted
    if how == "none":
        return and_(*(thumb.is_(None) for thumb in thumbs), ~noted)
    return or_(*(thumb == (1 if how == "up" else -1) for thumb in thumbs))


def _holds(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    escaped = re.sub(r"([/%_])", r"/\1", text)
    return fold_case(column).like(fold_case(literal(f"%{escaped}%")), escape="/")


def cursor_of(session: Session) -> str:
    return f"{(session.created_at - _EPOCH) // timedelta(microseconds=1)}-{session.id}"


def after(cursor: str) -> ColumnElement[bool]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadInput("cursor_invalid", "This is no place in the list.", "Begin without a cursor.")
    moment = _EPOCH + timedelta(microseconds=int(match[1]))
    return or_(
        _SESSIONS.created_at < moment,
        and_(_SESSIONS.created_at == moment, _SESSIONS.id > match[2]),
    )


def excerpts(connection: Connection, ids: Sequence[str], text: str) -> dict[str, str]:
    """The first words of each call that hold the text."""
    if not text or not ids:
        return {}
    query: Select[Any] = (
        select(_TURNS.session_id, _TURNS.user_text, _TURNS.agent_text)
        .where(
            _TURNS.session_id.in_(ids),
            or_(_holds(_TURNS.user_text, text), _holds(_TURNS.agent_text, text)),
        )
        .order_by(_TURNS.session_id, _TURNS.index)
    )
    found: dict[str, str] = {}
    for session_id, *sides in connection.execute(query):
        for said in sides:
            if session_id not in found and said and text.casefold() in said.casefold():
                found[session_id] = _cut(said, text)
    return found


def excerpt_of_notes(session: Session, text: str) -> str:
    for note in (session.caller_note, session.owner_note):
        if text and text.casefold() in note.casefold():
            return _cut(note, text)
    return ""


def _cut(said: str, text: str) -> str:
    """The surroundings of the text, at most about ``_EXCERPT`` characters."""
    place = said.casefold().find(text.casefold())
    begin = max(0, place - _EXCERPT // 2)
    end = begin + max(_EXCERPT, len(text))
    return f"{'…' if begin else ''}{said[begin:end]}{'…' if end < len(said) else ''}"
