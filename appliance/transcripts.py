"""A call as a file to take away: JSON, plain text, or SRT subtitles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from appliance.store import Session, Turn

Format = Literal["json", "text", "srt"]
SUFFIXES: dict[Format, str] = {"json": "json", "text": "txt", "srt": "srt"}
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
}
NOT_KEPT = "(not kept)"
NO_ANSWER = "(no answer)"
# Only the end of what a caller said is known; people speak about this fast.
_CHARACTERS_PER_S = 14.0
_SHORTEST_S = 0.5


def whole(session: Session, turns: Sequence[Turn]) -> dict[str, Any]:
    """The call with its turns, as the API and the files show it."""
    return {**session.as_json(), "turns": [turn.as_json() for turn in turns]}


def export(session: Session, turns: Sequence[Turn], form: Format) -> str:
    """The call in this format."""
    return _WRITERS[form](session, turns)


def file_name(session: Session, form: Format) -> str:
    """What the file is called: when the call began, in UTC, and its id."""
    return f"call-{session.created_at:%Y%m%d-%H%M}-{session.id}.{SUFFIXES[form]}"


def _as_json(session: Session, turns: Sequence[Turn]) -> str:
    return json.dumps(whole(session, turns), indent=2, ensure_ascii=False) + "\n"


def _as_text(session: Session, turns: Sequence[Turn]) -> str:
    caller = f" from {one_line(session.caller_name)}" if session.caller_name else ""
    why = f" ({one_line(session.reason)})" if session.reason else ""
    lines = [
        f"Call {session.id}{caller}, {session.created_at:%Y-%m-%d %H:%M:%S} UTC",
        f"Answered by {session.persona}; {session.state}{why}",
        "",
    ]
    for turn in turns:
        at = _offset(session, turn.started_at)
        clock = f"[{int(at) // 60}:{int(at) % 60:02d}]"
        if turn.user_text is not None:
            lines.append(f"{clock} Caller: {one_line(turn.user_text)}")
        lines.append(f"{clock} Assistant: {said_by_agent(turn, session)}")
    if not turns:
        lines.append("Nothing was said.")
    for who, note in (("caller", session.caller_note), ("owner", session.owner_note)):
        if note:
            lines += ["", f"Note of the {who}: {one_line(note)}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Cue:
    """One subtitle; seconds since the call's start."""

    begin: float
    end: float
    text: str


def _as_srt(session: Session, turns: Sequence[Turn]) -> str:
    cues = list(_cues(session, turns))
    return "".join(
        f"{number}\n{_stamp(cue.begin)} --> {_stamp(cue.end)}\n{cue.text}\n\n"
        for number, cue in enumerate(cues, 1)
    )


def _cues(session: Session, turns: Sequence[Turn]) -> Iterator[_Cue]:
    """Cues in order, none over another; a side of which nothing is kept has none."""
    free_from = 0.0
    for turn in turns:
        heard = _offset(session, turn.started_at)
        done = heard if turn.finished_at is None else _offset(session, turn.finished_at)
        if turn.user_text:
            text = one_line(turn.user_text)
            begin = max(free_from, heard - len(text) / _CHARACTERS_PER_S)
            cue = _Cue(begin, max(heard, begin + _SHORTEST_S), f"Caller: {text}")
            free_from = cue.end
            yield cue
        if turn.agent_text:
            begin = max(free_from, heard)
            text = said_by_agent(turn, session)
            cue = _Cue(begin, max(done, begin + _SHORTEST_S), f"Assistant: {text}")
            free_from = cue.end
            yield cue


def said_by_agent(turn: Turn, session: Session) -> str:
    """The answer on one line, or why there is none."""
    if turn.agent_text is None:
        return NO_ANSWER if turn.finished_at is None and session.keep_transcript else NOT_KEPT
    return one_line(turn.agent_text) + (" [cut short]" if turn.interrupted else "")


def one_line(text: str) -> str:
    """Without line breaks and control characters; an SRT arrow in it would end a cue's times."""
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return " ".join(plain.split()).replace("-->", "->")


def _offset(session: Session, moment: datetime) -> float:
    return max(0.0, (moment - session.created_at).total_seconds())


def _stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"


_WRITERS: dict[Format, Callable[[Session, Sequence[Turn]], str]] = {
    "json": _as_json,
    "text": _as_text,
    "srt": _as_srt,
}
