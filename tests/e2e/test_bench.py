"""A measurement of the running box: from the command to the turn in the store and the metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from appliance.store import Store
from tests.box import Box
from tests.results import note
from tests.waiting import until

_COUNTED = re.compile(r'^voice_turn_latency_seconds_count\{stage="at_ear"\} (\S+)$', re.MULTILINE)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_two_questions_are_measured_and_kept(box: Box, tmp_path: Path) -> None:
    box.wait_ready()
    store = Store(box.settings.store_url)
    try:
        until(lambda: not store.sessions.open(), 30, "the end of the calls before")
    finally:
        store.close()
    done = box.command("bench", "--turns", "2", "--json", "--out", tmp_path)
    assert done.returncode == 0, f"{done.stderr}\n{box.logs()}"
    assert "2 of 2" in done.stderr
    found = json.loads(done.stdout)
    note("a short measurement", **{name: found["ours"][name] for name in ("at_ear_ms", "llm")})
    assert found["ours"]["questions"]["asked"] == 2
    assert found["ours"]["questions"]["answered"] >= 1
    assert found["ours"]["at_ear_ms"]["p50"] > 0
    assert found["ours"]["llm"]["tokens_per_s"] > 0
    assert {"stt", "llm", "tts", "agent"} <= set(found["ours"]["memory_mb"]["programs"])
    path = Path(found["file"])
    assert json.loads(path.read_text())["turns"] == found["turns"]
    assert path.with_suffix(".svg").read_text().startswith("<svg")

    listed = json.loads(box.command("turns", "--json", "--limit", "4").stdout)
    heard = [turn["ms"]["at_ear"] for turn in found["turns"] if not turn["why"]]
    kept = [turn["ms"].get("at_ear") for turn in listed]
    assert set(heard) & set(kept) - {None}

    def is_counted() -> bool:
        page = httpx.get(f"{box.url}/metrics", headers=box.auth, trust_env=False)
        assert page.status_code == 200
        found = _COUNTED.search(page.text)
        assert found, page.text
        return float(found[1]) > 0

    # A turn is counted half a minute after its end: until then more of it may become known.
    until(is_counted, 90, "the turns in the metrics", pause_s=0.5)


def test_more_rooms_than_seats_are_refused(box: Box) -> None:
    done = box.command("bench", "--rooms", "60", "--turns", "1")
    assert done.returncode == 3
    assert "60 rooms need 60 seats" in done.stderr
