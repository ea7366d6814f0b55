"""What went wrong, as the owner reads it: plain, newest first, bounded, without speech or secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.rendering import write_private
from appliance.settings import PROJECT_DIR, Settings
from appliance.store import EndState, Store, open_store
from appliance.supervision import Record, records_path, records_text
from services.panel.box.troubles import _EVENTS, MOST, Trouble, Troubles, merged

pytestmark = pytest.mark.unit

CANARY = "xyzzy-canary"
_ERROR = re.compile(r"""\.(?:error|exception|critical)\(\s*"([^"]+)\"""")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path / "data")
    made.run_dir.mkdir(parents=True)
    (made.data_dir / "logs").mkdir()
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store without a call."""
    data = tmp_path_factory.mktemp("store")
    opened = open_store(Settings(data_dir=data))
    yield opened
    opened.close()


def write(settings: Settings, program: str, *lines: Mapping[str, object]) -> None:
    path = settings.data_dir / "logs" / f"{program}.log"
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def moment(minutes_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat()


def test_a_box_without_trouble_says_nothing(settings: Settings, store: Store) -> None:
    write(settings, "stt", {"ts": moment(1), "level": "info", "event": "ready"})
    # What supervisord itself says of every good start.
    (settings.data_dir / "logs" / "supervisord.log").write_text(
        "2026-11-21 16:25:01,120 CRIT Supervisor is running as root.  Privileges were not dropped\n"
        "2026-11-21 16:25:01,340 CRIT Server 'unix_http_server' running without any HTTP"
        " authentication checking\n"
    )
    assert Troubles(settings, store).latest() == []


def test_logs_calls_and_records_are_told_newest_first(settings: Settings) -> None:
    store = open_store(settings)
    write(
        settings, "watch",
        {"ts": moment(9), "level": "warning", "event": "program_ended", "program": "tts"},
        {"ts": moment(8), "level": "warning", "event": "program_ended", "program": "tts"},
    )  # fmt: skip
    write(
        settings, "llm",
        {"ts": moment(5), "level": "error", "event": "engine_failed", "why": "The file is damaged."},
    )  # fmt: skip
    session = store.sessions.create(persona="default", keep_transcript=True)
    store.sessions.end(session.id, EndState.FAILED, "agent_lost")
    found = Troubles(settings, store).latest()
    store.close()
    assert [one.where for one in found] == ["call", "llm", "tts"]
    assert (found[0].message, found[0].link) == (
        "A call failed: agent lost.",
        f"/calls/{session.id}",
    )
    assert found[1].message == "Language model could not load its model. The file is damaged."
    assert "Models" in found[1].hint
    assert (found[2].message, found[2].times) == ("Voice ended and was started again.", 2)


def test_what_was_given_up_is_said_once(settings: Settings, store: Store) -> None:
    reason = "It ended 5 times within 60 s and was stopped. `scripts/appliance logs stt` shows why."
    write_private(records_path(settings.run_dir), records_text({"stt": Record(5, reason)}))
    write(
        settings, "watch",
        {"ts": moment(1), "level": "error", "event": "program_given_up", "program": "stt", "reason": reason},
    )  # fmt: skip
    found = Troubles(settings, store).latest()
    assert len(found) == 1
    assert found[0].message == f"Speech recognition: {reason}"
    assert found[0].hint


def test_new_lines_are_found_and_old_ones_not_read_twice(settings: Settings, store: Store) -> None:
    troubles = Troubles(settings, store)
    line = {"ts": moment(2), "level": "error", "event": "request_failed"}
    write(settings, "stt", line)
    assert troubles.latest()[0].times == 1
    assert troubles.latest()[0].times == 1
    write(settings, "stt", line)
    assert troubles.latest()[0].times == 2


def test_a_library_s_own_words_are_not_shown(settings: Settings, store: Store) -> None:
    said = (
        "livekit::rtc_engine::rtc_session:2526:livekit::rtc_engine - Rtc(RtcError {InvalidState})"
    )
    write(
        settings, "agent",
        {"ts": moment(1), "level": "error", "event": said},
        {"ts": moment(2), "level": "error", "event": "another"},
    )  # fmt: skip
    write(settings, "livekit", {"ts": moment(3), "level": "error", "msg": "x", "reason": said})
    found = Troubles(settings, store).latest()
    assert [(one.where, one.times) for one in found] == [("agent", 2), ("livekit", 1)]
    unexplained = "reported a problem that it did not explain; its log shows the line."
    assert [one.message for one in found] == [
        f"Call agent {unexplained}",
        f"Media server {unexplained}",
    ]


def test_every_error_of_ours_is_explained() -> None:
    ours = {
        found
        for folder in ("appliance", "services")
        for path in (PROJECT_DIR / folder).rglob("*.py")
        for found in _ERROR.findall(path.read_text())
    }
    assert "engine_failed" in ours
    assert ours <= _EVENTS.keys() | {"program_given_up"}


def test_a_restart_that_was_ordered_is_no_trouble(settings: Settings, store: Store) -> None:
    ended = {"ts": moment(1), "level": "warning", "event": "program_ended"}
    write(settings, "watch", {**ended, "program": "panel", "clean": True})
    assert Troubles(settings, store).latest() == []
    write(
        settings, "watch",
        {**ended, "program": "panel", "clean": False},
        {**ended, "program": "agent", "clean": True},
    )  # fmt: skip
    assert {one.where for one in Troubles(settings, store).latest()} == {"panel", "agent"}


def test_it_is_bounded(settings: Settings, store: Store) -> None:
    lines = [
        {"ts": moment(n), "level": "error", "event": "engine_failed", "why": f"odd {n} " * 100}
        for n in range(1, 60)
    ]
    write(settings, "agent", *lines)
    write(settings, "agent", {"ts": moment(60 * 24 * 8), "level": "error", "event": "long_ago"})
    found = Troubles(settings, store).latest()
    assert len(found) == MOST
    assert max(len(one.message) for one in found) <= 240
    assert not any("long" in one.message for one in found)


def test_speech_and_secrets_stay_out(settings: Settings, store: Store) -> None:
    jwt = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{CANARY}.c2lnbmF0dXJl"
    write(
        settings, "livekit",
        {"ts": moment(1), "level": "error", "msg": f"bad token {jwt}", "token": CANARY},
        {"ts": moment(2), "level": "error", "event": "request_failed", "why": f"?access_token={CANARY}"},
        {"ts": moment(3), "level": "error", "event": "engine_failed", "reason": {"text": CANARY}},
    )  # fmt: skip
    found = Troubles(settings, store).latest()
    assert len(found) == 3
    assert CANARY not in str(found)


@pytest.mark.parametrize(
    "line",
    [
        '{"ts": 1e308, "level": "error", "event": "x"}',
        '{"ts": NaN, "level": "error", "event": "x"}',
        '{"ts": "0001-01-01", "level": "error", "event": "x"}',
        '{"ts": [], "level": "error", "event": {"a": 1}}',
        '{"level": "error", "event": "\\ud800"}',
        '{"level": "error"}',
        "[" * 5000,
    ],
)
def test_a_strange_line_breaks_nothing(settings: Settings, store: Store, line: str) -> None:
    (settings.data_dir / "logs" / "llm.log").write_text(line + "\n")
    for one in Troubles(settings, store).latest():
        assert one.message.encode("utf-8")


def test_a_log_that_cannot_be_read_hides_no_other(settings: Settings, store: Store) -> None:
    (settings.data_dir / "logs" / "stt.log").mkdir()
    write(settings, "tts", {"ts": moment(1), "level": "error", "event": "voice_unreadable"})
    assert [one.where for one in Troubles(settings, store).latest()] == ["tts"]


def test_the_same_trouble_is_one_with_its_latest_time() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    found = merged(
        [Trouble(early, "stt", "x"), Trouble(late, "stt", "x"), Trouble(early, "llm", "x")]
    )
    assert [(one.at, one.where, one.times) for one in found] == [
        (late, "stt", 2),
        (early, "llm", 1),
    ]
