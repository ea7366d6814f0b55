"""What a foreign page, a rebound name or a stranger on the socket may not do to the panel."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import jwt
import pytest
from livekit import api

from appliance.secrets import LiveKitKeys, livekit_keys
from appliance.settings import Settings
from services.panel.access.policy import BODY_BYTES
from services.panel.app import create_app
from services.panel.rooms import LiveKitRooms, Visitor, caller_identity
from tests.panel_app import SESSIONS, Panel, box_settings, routes, running_panel, stranger

pytestmark = pytest.mark.security
ENDLESS = "/api/v1/events"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


@pytest.fixture
async def bare(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """A client that sends nothing by itself but a Host."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=panel.app), base_url="http://localhost:8080"
    ) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "localhost:8081", "localhost.evil.example:8080",
        "127.0.0.1", "192.168.1.20:8080", "localhost:8080@evil.example", "0.0.0.0:8080", "",
    ],
)  # fmt: skip
async def test_other_names_than_the_boxs_are_refused(panel: Panel, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", SESSIONS), ("POST", SESSIONS), ("GET", "/healthz")):
        answer = await panel.http.request(method, path, headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (421, "host_unknown")
    assert panel.store.sessions.list() == []


@pytest.mark.parametrize(
    "host", ["localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"]
)
async def test_the_boxs_own_names_are_accepted(panel: Panel, host: str) -> None:
    assert (await panel.http.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://localhost", "http://localhost:8081", "",
        "http://localhost:8080.evil.example", "file://", "http://[", "ftp://localhost:8080",
    ],
)  # fmt: skip
async def test_other_sites_pages_are_refused(panel: Panel, origin: str) -> None:
    answer = await panel.http.post(SESSIONS, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    assert (await panel.http.get(SESSIONS, headers={"Origin": origin})).status_code == 403
    assert panel.store.sessions.list() == []


async def test_its_own_page_is_accepted(panel: Panel) -> None:
    names = ("localhost:8080", "127.0.0.1:8080", "[::1]:8080")
    for host in names:
        own = {"Host": host, "Origin": f"http://{host}"}
        assert (await panel.http.post(SESSIONS, headers=own)).status_code == 201
        for other in set(names) - {host}:
            answer = await panel.http.post(SESSIONS, headers={**own, "Origin": f"http://{other}"})
            assert answer.json()["error"]["code"] == "origin_refused", (host, other)


async def test_what_changes_something_needs_the_clients_header(
    panel: Panel, bare: httpx.AsyncClient
) -> None:
    """The one thing that a form or an image of a foreign page cannot send."""
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for path in (SESSIONS, f"{SESSIONS}/x/end", f"{SESSIONS}/x/dispatch", "/nowhere"):
            answer = await bare.request(method, path)
            assert answer.status_code == 403, (method, path)
            assert answer.json()["error"]["code"] == "client_header_missing"
    assert panel.store.sessions.list() == []
    assert (await bare.get(SESSIONS)).status_code == 401


async def test_no_answer_ever_allows_another_origin(panel: Panel, bare: httpx.AsyncClient) -> None:
    preflight = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-earshot-client",
    }
    answers = [
        await bare.options(SESSIONS, headers=preflight),
        await panel.http.get(SESSIONS),
        await panel.http.get("/"),
    ]
    assert answers[0].status_code == 403
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_every_answer_carries_the_headers(panel: Panel) -> None:
    served = [(method, re.sub(r"\{[^}]*\}", "x", path)) for method, path in routes(panel.app)]
    assert len(served) >= 10
    asked = [*served, ("GET", "/static/nothing.js"), ("GET", "/nowhere"), ("PUT", SESSIONS)]
    for method, path in asked:
        # By a stranger, what would change something for a test's sake, or never end.
        async with stranger(panel) as asker:
            answer = await (asker if method != "GET" or path == ENDLESS else panel.http).request(
                method, path
            )
        headers = answer.headers
        csp = headers["Content-Security-Policy"]
        assert "default-src 'self'" in csp, path
        assert "frame-ancestors 'none'" in csp
        assert "object-src 'none'" in csp
        assert "unsafe" not in csp
        assert "script-src 'self';" in csp
        assert "connect-src 'self' ws://localhost:8080 wss://localhost:8080;" in csp
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "microphone=(self)" in headers["Permissions-Policy"]
        assert headers["Cache-Control"] == (
            "no-cache" if path.startswith("/static/") else "no-store"
        )
        assert "server" not in headers


async def test_the_policy_never_repeats_a_foreign_host(panel: Panel) -> None:
    answer = await panel.http.get("/", headers={"Host": "evil.example; script-src *"})
    assert "evil" not in answer.headers["Content-Security-Policy"]


async def test_the_page_holds_no_inline_script_and_no_foreign_address(panel: Panel) -> None:
    seen = 0
    for method, path in routes(panel.app):
        if method != "GET" or "{" in path or path.startswith(("/api/", "/v1/", "/static")):
            continue
        answer = await panel.http.get(path)
        page = answer.text
        seen += "<main" in page
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), path
        assert not re.search(r"<[^>]*\s(?:on\w+|hx-on[^=]*|style)\s*=", page), path
        assert not re.search(r"(?:src|href)\s*=\s*[\"'](?:https?:)?//", page), path
    assert seen >= 8


async def test_a_body_over_the_limit_is_refused_unread(panel: Panel) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100_000):
            read += 8192
            yield b"x" * 8192

    answer = await panel.http.post(SESSIONS, content=endless())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert read <= BODY_BYTES + 2 * 8192
    declared = await panel.http.post(SESSIONS, content=b"{}", headers={"Content-Length": "9" * 12})
    assert declared.status_code == 413
    nonsense = await panel.http.post(SESSIONS, content=b"{}", headers={"Content-Length": "many"})
    assert nonsense.status_code == 400


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via"]
)
async def test_the_inner_api_is_closed_to_whoever_came_through_the_front_door(
    panel: Panel, header: str
) -> None:
    session = await panel.open()
    answer = await panel.http.post(
        f"/internal/v1/jobs/{session.id}",
        content=b'{"type":"hello","pid":1,"identity":"agent-1"}\n',
        headers={header: "127.0.0.1"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "internal_only")
    call = panel.desk.book.get(session.id)
    assert call is not None
    assert call.job is None


async def test_a_webhook_needs_the_media_servers_signature(tmp_path: Path) -> None:
    settings = box_settings(tmp_path)
    keys = livekit_keys(settings)
    body = '{"event":"participant_left"}'
    rooms = LiveKitRooms(settings.livekit_http_url, keys, 300, settings.socket("agent"))
    try:
        assert rooms.webhook_is_genuine(body, _signed(keys, body))
        assert not rooms.webhook_is_genuine(body.replace("left", "joined"), _signed(keys, body))
        other = LiveKitKeys(keys.api_key, "x" * 48)
        assert not rooms.webhook_is_genuine(body, _signed(other, body))
        plain = api.AccessToken(*keys).to_jwt()
        for wrong in ("", "nonsense", "a.b.c", plain):
            assert not rooms.webhook_is_genuine(body, wrong)
    finally:
        await rooms.close()


async def test_an_unsigned_webhook_is_refused(panel: Panel) -> None:
    panel.desk.news.clear()
    answer = await panel.http.post("/internal/livekit", content=b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "webhook_refused")
    assert not panel.desk.news.is_set()


def _signed(keys: LiveKitKeys, body: str) -> str:
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return api.AccessToken(*keys).with_sha256(digest).to_jwt()


async def test_a_callers_token_opens_one_room_and_nothing_else(panel: Panel) -> None:
    session = await panel.open()
    keys = LiveKitKeys("APIkey", "s" * 48)
    rooms = LiveKitRooms("http://127.0.0.1:7880", keys, 300, Path("agent.sock"))
    try:
        join = rooms.token(session.room_name, Visitor(caller_identity(session.id), "Ann"))
    finally:
        await rooms.close()
    claims = jwt.decode(join.token, keys.api_secret, algorithms=["HS256"])
    assert claims["sub"] == f"caller-{session.id}"
    assert claims["exp"] - claims["nbf"] <= 300
    granted = {name: value for name, value in claims["video"].items() if value}
    assert granted == {
        "roomJoin": True, "room": session.room_name, "canPublish": True, "canSubscribe": True,
        "canPublishData": True, "canPublishSources": ["microphone"],
    }  # fmt: skip


async def test_an_exceptions_own_words_never_leave(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_limit: int) -> None:
        raise RuntimeError("the secret path /data/secrets")

    monkeypatch.setattr(panel.store.sessions, "list", broken)
    answer = await panel.http.get(SESSIONS)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "Content-Security-Policy" in answer.headers


async def test_every_error_has_the_same_shape(panel: Panel) -> None:
    for method, path in (
        ("GET", "/nowhere"), ("PUT", SESSIONS), ("GET", f"{SESSIONS}/nobody"),
        ("GET", "/static/../app.py"), ("GET", "/static/%2e%2e/app.py"), ("GET", "/docs"),
        ("GET", "/openapi.json"), ("GET", f"{SESSIONS}?limit=x"),
    ):  # fmt: skip
        answer = await panel.http.request(method, path)
        assert 400 <= answer.status_code < 500, path
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "type", "hint", "can_retry"}
        assert error["message"]


def test_the_app_is_a_function_of_its_settings(tmp_path: Path) -> None:
    """Building it opens nothing and writes nothing."""
    create_app(Settings(data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


async def test_who_opens_an_address_reads_a_page(panel: Panel) -> None:
    people = {"Accept": "text/html,application/xhtml+xml"}
    for path, status in (("/nowhere", 404), ("/access/links/0123456789abcdef", 404)):
        answer = await panel.http.get(path, headers=people)
        assert (answer.status_code, "<h1>Not found</h1>" in answer.text) == (status, True), path
        part = await panel.http.get(path, headers={**people, "HX-Request": "true"})
        assert part.json()["error"]["code"]
    foreign = await panel.http.get("/", headers={**people, "Origin": "https://evil.example"})
    assert (foreign.status_code, "<h1>Not allowed</h1>" in foreign.text) == (403, True)
