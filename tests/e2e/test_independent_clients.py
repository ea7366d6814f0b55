"""LiveKit's own clients, unmodified, with an API key: a browser elsewhere, node, the server library."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.audio import read_audio
from appliance.calling import Caller
from appliance.secrets import livekit_keys
from appliance.settings import PROJECT_DIR
from appliance.store import Store
from tests.box import Box
from tests.browser.chromium import spoken, visit
from tests.recordings import DATA, error_rate
from tests.results import note
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CLIENTS = Path(__file__).with_name("clients")
LIBRARY = PROJECT_DIR / "node_modules" / "livekit-client" / "dist" / "livekit-client.esm.mjs"
QUESTION = "What is the capital of France?"
_CLIP = DATA / "questions" / "france.flac"
_RATE_HZ = 48_000
_WITHIN_S = 60.0


class _Site(SimpleHTTPRequestHandler):
    """One page and LiveKit's library as it was published."""

    def translate_path(self, path: str) -> str:
        return str(LIBRARY if path.endswith(LIBRARY.name) else CLIENTS / path.lstrip("/"))

    def log_message(self, *_: Any) -> None:
        """Nothing: the test says what went wrong."""


@pytest.fixture(scope="module")
def site(box: Box) -> Iterator[str]:
    """Another site on this machine, which the box's settings name."""
    server = ThreadingHTTPServer(("127.0.0.1", box.other_port), partial(_Site))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://localhost:{box.other_port}"
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.fixture(scope="module")
def key(box: Box) -> str:
    """A key for calls, made as the owner makes one."""
    box.wait_ready()
    wanted = {"name": "independent client", "scopes": ["calls"]}
    answer = httpx.post(
        f"{box.url}/api/v1/keys", json=wanted, headers=box.auth, timeout=10, trust_env=False
    )
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["key"]
    return made


@pytest.fixture
def store(box: Box) -> Iterator[Store]:
    """What the box keeps."""
    store = Store(box.settings.store_url)
    yield store
    store.close()


def node(script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run one of the scripts; what it told."""
    done = subprocess.run(
        ["node", str(CLIENTS / script), *arguments], cwd=PROJECT_DIR, text=True,
        capture_output=True, timeout=150, check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # LiveKit's library prints lines of its own.
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("told:"))
    answer: dict[str, Any] = json.loads(told.removeprefix("told:"))
    return answer


def heard(store: Store, session_id: str) -> list[str]:
    """What the box understood of this caller."""
    return [turn.user_text for turn in store.turns.list(session_id) if turn.user_text]


def test_a_browser_on_another_site_calls_with_livekits_client(
    box: Box, site: str, key: str, store: Store, tmp_path: Path
) -> None:
    """TokenSource.endpoint with a key, from an origin that the settings name."""
    microphone = spoken(tmp_path / "question.wav", _CLIP, 12)
    with visit(site, microphone=microphone, path="/other_site.html") as visited:
        visited.until(lambda: visited.page.title() == "Ready", 15, "the other site's page")
        endpoint = f"{box.url}/v1/livekit/token"
        visited.page.evaluate("given => { window.given = given }", [endpoint, key])
        visited.page.click("#call")
        told = visited.until(
            lambda: [one for one in visited.page.evaluate("Object.values(window.told)") if one],
            20, "a call",
        )  # fmt: skip
        (room,) = told
        assert room.startswith("call-"), f"no call: {room}"
        visited.until(lambda: visited.observed("loudMs") > 500, 20, "a greeting")

        def words(speaker: str) -> list[str]:
            said = visited.page.evaluate("() => window.words")
            return [text for who, text in said if who == speaker]

        visited.until(lambda: len(words("agent")) > 1 and words("you"), _WITHIN_S, "an answer")
        session = store.sessions.in_room(room)
        assert session is not None
        assert session.origin == "token"
        wrong = visited.page.evaluate("url => window.refused(url)", f"{box.url}/api/v1/sessions")
        assert wrong == "TypeError", "a page of another site reached the API"
        visited.page.evaluate("() => window.leave()")
    until(lambda: not store.sessions.get(session.id).is_open, 45, "the end of the call")
    assert error_rate([QUESTION], heard(store, session.id)[:1]) <= 0.34


def test_livekits_node_client_makes_a_spoken_call(
    box: Box, key: str, store: Store, tmp_path: Path
) -> None:
    question = tmp_path / "question.s16"
    question.write_bytes(read_audio(_CLIP).resampled(_RATE_HZ).to_s16le())
    seen = node("spoken_call.mjs", box.url, key, str(question))
    note("a call by LiveKit's node client", answered_after_ms=seen["answered_after_ms"])
    session = store.sessions.get(seen["session_id"])
    assert (session.origin, session.room_name) == ("token", seen["room"])
    assert error_rate([QUESTION], heard(store, session.id)[:1]) <= 0.34
    until(lambda: not store.sessions.get(session.id).is_open, 45, "the end of the call")


async def test_livekits_server_library_lists_the_rooms(box: Box) -> None:
    caller = Caller(box.url, token=box.token)
    try:
        await caller.join()
        keys = livekit_keys(box.settings)
        found = await asyncio.to_thread(
            node, "list_rooms.mjs", box.settings.livekit_http_url,
            LIVEKIT_API_KEY=keys.api_key, LIVEKIT_API_SECRET=keys.api_secret,
        )  # fmt: skip
        people = found[f"call-{caller.session_id}"]
        assert f"caller-{caller.session_id}" in people
        assert any(name.startswith("agent-") for name in people)
    finally:
        await caller.end()
