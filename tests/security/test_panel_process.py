"""The panel as a process behind the front door: what it keeps, what it logs, what it bears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from appliance.set_up import new_set_up_link
from tests.panel_box import SESSIONS, Box, running_box
from tests.results import note

pytestmark = pytest.mark.security
PASSWORD = "seven stones under water"
_LEAST_PARALLEL = 50


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """Panel, media server and front door."""
    async with running_box(tmp_path / "data", free_port) as box:
        await box.start_front()
        yield box


def browser(box: Box) -> httpx.AsyncClient:
    """Somebody in front of the door, with a browser's habits."""
    return httpx.AsyncClient(
        base_url=box.settings.front_url, trust_env=False, timeout=60,
        headers={"Origin": box.settings.front_url},
    )  # fmt: skip


async def set_up(box: Box, client: httpx.AsyncClient) -> str:
    """Set the password; returns the cookie."""
    code = new_set_up_link(box.settings).partition("code=")[2]
    form = {"code": code, "password": PASSWORD, "again": PASSWORD}
    answer = await client.post("/set-up", data=form)
    assert answer.status_code == 303, answer.text
    return answer.cookies["earshot"]


async def _guess(client: httpx.AsyncClient, password: str, address: str = "") -> httpx.Response:
    headers = {"X-Forwarded-For": address} if address else {}
    return await client.post("/sign-in", data={"password": password}, headers=headers)


async def test_tries_are_remembered_when_the_panel_is_killed(box: Box) -> None:
    async with browser(box) as client, browser(box) as stranger:
        await set_up(box, client)
        for number in range(5):
            # The front door says where a request comes from, whatever the stranger writes.
            answer = await _guess(stranger, f"guess number {number}", f"192.0.2.{number}")
            assert answer.status_code == 401
        assert (await _guess(stranger, PASSWORD)).status_code == 429
        box.kill_panel()
        await box.start_panel()
        answer = await _guess(stranger, PASSWORD, "192.0.2.99")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        # Neither the owner's own browser nor the sign-in that it has is touched.
        assert (await client.get(SESSIONS)).status_code == 200
        assert (await _guess(client, PASSWORD)).status_code == 303


async def test_fifty_at_once_neither_fill_the_memory_nor_stop_the_panel(box: Box) -> None:
    async with browser(box) as client:
        await set_up(box, client)
    panel = psutil.Process(box.panel_pid)
    before, most, waits = panel.memory_info().rss, 0, []
    # On the socket itself, as if the front door had told of fifty addresses.
    transport = httpx.AsyncHTTPTransport(uds=str(box.settings.socket("panel")))
    async with httpx.AsyncClient(
        transport=transport, base_url=box.settings.front_url, timeout=120,
        headers={"Origin": box.settings.front_url},
    ) as many:  # fmt: skip
        began = time.monotonic()
        guesses = [
            asyncio.create_task(_guess(many, f"guess number {number}", f"192.0.2.{number}"))
            for number in range(_LEAST_PARALLEL)
        ]
        while not all(guess.done() for guess in guesses):
            asked = time.monotonic()
            # Its time-out is the deadline.
            health = await box.http.get("/healthz", timeout=30)
            assert health.status_code == 200
            waits.append(time.monotonic() - asked)
            most = max(most, panel.memory_info().rss)
        took = time.monotonic() - began
    assert {(await guess).status_code for guess in guesses} == {401}
    grown_mb = (most - before) / 1e6
    waits.sort()
    note(
        "50 sign-ins at once", took_s=round(took, 1), grown_mb=round(grown_mb),
        healthz_p95_ms=round(waits[int(len(waits) * 0.95)] * 1000), n=len(waits),
    )  # fmt: skip
    assert grown_mb < 200


async def test_a_body_without_an_end_is_refused_and_not_kept(box: Box) -> None:
    panel = psutil.Process(box.panel_pid)
    before = panel.memory_info().rss

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1024):
            yield b"x" * (1 << 20)

    for path in ("/sign-in", SESSIONS, "/api/v1/keys", "/nowhere"):
        try:
            answer = await box.http.post(path, content=endless(), timeout=60)
        except httpx.WriteError:
            continue  # it hung up while it was still being told
        assert answer.status_code in (413, 401), path
    assert (panel.memory_info().rss - before) / 1e6 < 50


async def test_no_log_knows_a_password_a_token_or_a_cookie(box: Box) -> None:
    async with browser(box) as client:
        cookie = await set_up(box, client)
        code = new_set_up_link(box.settings).partition("code=")[2]
        await client.get("/set-up", params={"code": code})
        client.headers["X-Earshot-Client"] = "1"
        made = (await client.post("/api/v1/keys", json={"name": "x", "scopes": ["admin"]})).json()
        wrong = "a password that is not right"
        await _guess(client, wrong)
        call = (await client.post(SESSIONS, json={})).json()
        await client.get("/rtc/validate", params={"access_token": call["token"]})
        async with browser(box) as program:
            program.headers["Authorization"] = f"Bearer {made['key']}"
            assert (await program.get(SESSIONS)).status_code == 200
        broken = b'{"name": "' + made["key"].encode()
        answer = await client.post(
            "/api/v1/keys", content=broken, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400
        assert made["key"] not in answer.text
        await client.post(
            "/account/password",
            data={"current": wrong, "password": wrong + "!", "again": wrong + "!"},
        )
    box.stop_panel()
    local = box.auth["Authorization"].removeprefix("Bearer ")
    hidden = [PASSWORD, wrong, cookie, code, made["key"], call["token"], local]
    logs = list(box.settings.data_dir.glob("*.log"))
    assert {"panel.log", "front.log", "livekit.log"} <= {path.name for path in logs}
    for path in logs:
        text = path.read_text(errors="replace")
        assert [secret[:8] for secret in hidden if secret in text] == [], path.name


async def test_secrets_are_the_owners_alone_and_each_box_has_its_own(
    box: Box, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with browser(box) as client:
        await set_up(box, client)
    new_set_up_link(box.settings)
    folder = box.settings.secrets_dir
    assert folder.stat().st_mode & 0o777 == 0o700
    kept = {path.name: path for path in folder.iterdir()}
    named = {"livekit_api_key", "livekit_api_secret", "local_token", "browser_key", "set_up_codes"}
    assert named <= set(kept)
    for path in [*kept.values(), *box.settings.data_dir.glob("appliance.db*")]:
        assert path.stat().st_mode & 0o777 == 0o600, path.name
    async with running_box(tmp_path / "second", free_port) as second:
        other = second.settings.secrets_dir
        for path in other.iterdir():
            if path.name in kept:
                assert path.read_bytes() != kept[path.name].read_bytes(), path.name
                assert len(path.read_text().strip()) >= 16
