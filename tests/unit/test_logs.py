"""Canaries: what was said and what is secret is never in a log line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from appliance import logs

pytestmark = pytest.mark.unit

CANARY = "xyzzy-canary"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{CANARY}.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_words_and_secrets_are_removed(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("stt", "debug")
    log = logs.get("t")
    for key in sorted(logs.PRIVATE_KEYS):
        log.info("event", **{key: CANARY})
    log.info("nested", request={"headers": [{"Authorization": CANARY}], "ok": 1})
    log.info("request_broken", path=f"/join/a.{CANARY}")
    log.info(f"joined with {JWT}", url=f"ws://x/rtc?access_token={CANARY}&a=1")
    log.info(f"came with earshot_0123456789abcdef_{CANARY}{'A' * 30}", url=f"/set-up?code={CANARY}")
    log.info("framework", **{"lk.pii.user_transcript": CANARY})
    logging.getLogger("livekit.agents").debug("said", extra={"user_transcript": CANARY})
    logging.getLogger("livekit.agents").info("said", extra={"user_transcript": CANARY, "pid": 7})
    out = capsys.readouterr().out
    assert CANARY not in out
    lines = [json.loads(line) for line in out.splitlines()]
    assert {"ts", "level", "service", "event"} <= lines[0].keys()
    assert lines[0]["service"] == "stt"
    assert lines[-1]["pid"] == 7


def test_other_fields_stay(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("tts")
    logs.get("t").warning("slow", seconds=1.5, path="/x?voice=joe")
    line = json.loads(capsys.readouterr().out)
    assert (line["seconds"], line["path"], line["level"]) == (1.5, "/x?voice=joe", "warning")
