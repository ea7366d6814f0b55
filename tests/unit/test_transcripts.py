"""A call as a file: JSON, text, SRT, whatever people said."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.store import Session, Turn
from appliance.transcripts import export, file_name

pytestmark = pytest.mark.unit
START = datetime(2026, 11, 21, 15, 45, tzinfo=UTC)
TEXTS = st.one_of(st.none(), st.text(max_size=60))


def call(keep: bool = True, **changes: object) -> Session:
    values = {
        "id": "ea1339e0fa3c9fe0", "room_name": "call-x", "persona": "default",
        "keep_transcript": keep, "state": "completed", "reason": "", "created_at": START,
        "joined_at": START, "ended_at": START + timedelta(minutes=1), **changes,
    }  # fmt: skip
    return Session(**values)  # type: ignore[arg-type]


def turn(
    index: int, user: str | None, agent: str | None, begin_s: float, end_s: float | None
) -> Turn:
    at = START + timedelta(seconds=begin_s)
    end = None if end_s is None else START + timedelta(seconds=end_s)
    return Turn(index, user, agent, interrupted=index == 2, started_at=at, finished_at=end)


TALK = [
    turn(0, None, "Hello.", 1.0, 2.5),
    turn(1, "What do bees make?", "Bees make honey.", 6.0, 9.25),
    turn(2, "And", "And they", 12.0, 13.0),
    turn(3, "Still there?", None, 20.0, None),
]


def test_srt_has_the_times_of_the_turns() -> None:
    assert export(call(), TALK, "srt") == (
        "1\n00:00:01,000 --> 00:00:02,500\nAssistant: Hello.\n\n"
        "2\n00:00:04,714 --> 00:00:06,000\nCaller: What do bees make?\n\n"
        "3\n00:00:06,000 --> 00:00:09,250\nAssistant: Bees make honey.\n\n"
        "4\n00:00:11,786 --> 00:00:12,286\nCaller: And\n\n"
        "5\n00:00:12,286 --> 00:00:13,000\nAssistant: And they [cut short]\n\n"
        "6\n00:00:19,143 --> 00:00:20,000\nCaller: Still there?\n\n"
    )


def test_text_reads_like_a_conversation() -> None:
    text = export(call(caller_name="Frau Müller", caller_note="Kind."), TALK, "text")
    assert text.startswith("Call ea1339e0fa3c9fe0 from Frau Müller, 2026-11-21 15:45:00 UTC\n")
    assert "[0:06] Caller: What do bees make?\n[0:06] Assistant: Bees make honey.\n" in text
    assert "[0:12] Assistant: And they [cut short]" in text
    assert "[0:20] Assistant: (no answer)" in text
    assert text.endswith("Note of the caller: Kind.\n")


def test_json_is_the_whole_call() -> None:
    whole = json.loads(export(call(), TALK, "json"))
    assert whole["session_id"] == "ea1339e0fa3c9fe0"
    assert [one["agent_text"] for one in whole["turns"]] == [
        "Hello.", "Bees make honey.", "And they", None,
    ]  # fmt: skip
    assert whole["turns"][1]["started_at"] == "2026-11-21T15:45:06+00:00"


def test_what_is_not_kept_is_not_there() -> None:
    turns = [turn(0, None, None, 1, 2), turn(1, None, None, 3, 4)]
    assert "(not kept)" in export(call(keep=False), turns, "text")
    assert export(call(keep=False), turns, "srt") == ""
    assert "Nothing was said." in export(call(), [], "text")


def test_the_file_says_when_and_which() -> None:
    assert file_name(call(), "srt") == "call-20261121-1545-ea1339e0fa3c9fe0.srt"
    assert file_name(call(), "text").endswith(".txt")


@example([("1\n\n00:00:00,000 --> 00:00:09,000\n\nx", "a\r\n\r\n--> b\u2028c", 5.0, 1.0)])
@given(st.lists(st.tuples(TEXTS, TEXTS, st.floats(-5, 4000), st.floats(0, 60)), max_size=6))
def test_srt_stays_whole_whatever_is_said(
    said: list[tuple[str | None, str | None, float, float]],
) -> None:
    turns = [
        turn(index, user, agent, begin, begin + length)
        for index, (user, agent, begin, length) in enumerate(said)
    ]
    srt = export(call(), turns, "srt")
    blocks = srt.split("\n\n")[:-1]
    assert len(blocks) == sum(bool(user) + bool(agent) for user, agent, _, _ in said)
    before = 0
    for number, block in enumerate(blocks, 1):
        first, times, text = block.split("\n")
        assert first == str(number)
        match = re.fullmatch(
            r"(\d\d):(\d\d):(\d\d),(\d{3}) --> (\d\d):(\d\d):(\d\d),(\d{3})", times
        )
        assert match
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
        begin = ((h * 60 + m) * 60 + s) * 1000 + ms
        end = ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        assert before <= begin < end
        assert "-->" not in text
        before = end
