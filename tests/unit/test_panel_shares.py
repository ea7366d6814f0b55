"""Programs and strangers who hang up, or ask for all at once, trouble neither the owner nor the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import NotReady
from services.panel import events
from services.panel.access.identity import digest_of, new_key
from services.panel.events import Bus
from services.panel.speech.services import Services
from tests.panel_app import Panel, box_settings, running_panel, stranger

pytestmark = pytest.mark.unit

FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "http://localhost:8080"}


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


def _key(panel: Panel, scope: str) -> str:
    key_id, token = new_key()
    panel.store.api_keys.add(key_id, digest_of(token), scope, [scope], None)
    return token


async def _hang_up(panel: Panel, method: str, path: str, **headers: str) -> list[Any]:
    """Begin a body and close the connection; what was answered."""
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": b"GGUF{", "more_body": True}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost:8080", "content-length": "1000", **headers}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    await panel.app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/sign-in", ""),
        ("POST", "/set-up", ""),
        ("POST", "/internal/livekit", ""),
        ("PUT", "/api/v1/models/uploads/half/gguf", "admin"),
    ],
)
async def test_who_hangs_up_in_the_middle_of_a_body_is_no_mistake_of_ours(
    panel: Panel, capsys: pytest.CaptureFixture[str], method: str, path: str, scope: str
) -> None:
    headers = {"authorization": f"Bearer {_key(panel, scope)}"} if scope else FORM
    sent = await _hang_up(panel, method, path, **headers)
    assert not [one for one in sent if one.get("status") == 500]
    out = capsys.readouterr()
    assert "request_broken" not in out.out + out.err


async def test_a_key_that_listens_everywhere_leaves_room_for_the_owner(panel: Panel) -> None:
    bus: Bus = panel.app.state.bus
    token = _key(panel, "read")
    key_id = panel.store.api_keys.all()[0].id
    mine = [bus.subscribe("box", key_id=key_id) for _ in range(events.OF_ONE_KEY)]
    async with stranger(panel, Authorization=f"Bearer {token}") as program:
        answer = await program.get("/api/v1/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert bus.has_room("another")
    while bus.has_room(name := f"key-{len(bus) // events.OF_ONE_KEY}"):
        mine.append(bus.subscribe("box", key_id=name))
    assert len(bus) == events.OF_ALL_KEYS
    assert bus.has_room()
    for one in mine:
        one.close()


@pytest.mark.parametrize(("service", "one", "every"), [("stt", 2, 3), ("llm", 8, 10)])
async def test_keys_that_never_end_their_bodies_leave_a_place_for_the_owner(
    tmp_path: Path, service: Any, one: int, every: int
) -> None:
    services = Services(box_settings(tmp_path))
    try:
        with ExitStack() as held:
            for _ in range(one):
                held.enter_context(services.place(service, "first"))
            with pytest.raises(NotReady):
                held.enter_context(services.place(service, "first"))
            for _ in range(every - one):
                held.enter_context(services.place(service, "second"))
            with pytest.raises(NotReady):
                held.enter_context(services.place(service, "third"))
            held.enter_context(services.place(service))
        with services.place(service, "first"):
            pass
    finally:
        await services.close()
