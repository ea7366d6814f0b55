"""The bus: events in their order, nobody waits for a slow listener, the end comes at once."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from services.panel import events
from services.panel.events import Bus, Event, Subscription, stream
from tests.panel_app import box_settings, running_panel

pytestmark = pytest.mark.unit


async def rest_of(listener: Subscription) -> list[Event]:
    return [event async for event in listener]


async def test_a_listener_hears_its_topics_in_their_order() -> None:
    bus = Bus()
    with bus.subscribe("box", "calls") as listener:
        for number in range(3):
            bus.publish("box", {"n": number})
            bus.publish("pull", {"n": number})
        bus.publish("calls", {"n": 3})
        bus.close()
        heard = await rest_of(listener)
    assert [(one.topic, one.data["n"]) for one in heard] == [
        ("box", 0),
        ("box", 1),
        ("box", 2),
        ("calls", 3),
    ]
    assert len(bus) == 0


async def test_a_slow_listener_is_dropped_and_the_others_go_on() -> None:
    bus = Bus()
    slow, quick = bus.subscribe("box"), bus.subscribe("box")
    for number in range(300):
        bus.publish("box", {"n": number})
        assert (await anext(quick)).data["n"] == number
    assert len(bus) == 1
    assert len(await rest_of(slow)) <= 101
    bus.publish("box", {"n": 300})
    assert (await anext(quick)).data["n"] == 300
    quick.close()
    assert not bus.is_heard("box")


async def test_a_thread_may_publish() -> None:
    bus = Bus()
    with bus.subscribe("pull") as listener:
        thread = threading.Thread(target=bus.publish, args=("pull", {"part": 0.5}))
        thread.start()
        assert (await asyncio.wait_for(anext(listener), 30)).data == {"part": 0.5}
        thread.join()


async def test_who_comes_after_the_end_is_let_go() -> None:
    bus = Bus()
    bus.close()
    assert await rest_of(bus.subscribe("box")) == []


async def test_the_stream_is_well_formed_whatever_is_said() -> None:
    bus = Bus()
    hostile = {"name": "a\nevent: box\ndata: {}\n\n\u2028\ud800</script>"}
    pieces = stream(bus.subscribe("calls"))
    assert (await anext(pieces)).startswith("retry: ")
    bus.publish("calls", hostile)
    piece = await anext(pieces)
    assert piece.startswith("event: calls\ndata: ")
    assert piece.endswith("\n\n")
    assert piece.count("\n") == 3
    assert json.loads(piece.split("data: ", 1)[1]) == hostile
    assert piece.encode("utf-8")
    await pieces.aclose()  # type: ignore[attr-defined]
    assert len(bus) == 0


async def test_the_stream_shows_that_it_lives_and_ends_by_itself() -> None:
    bus = Bus()
    pieces = [
        piece async for piece in stream(bus.subscribe("box"), heartbeat_s=0.01, longest_s=0.05)
    ]
    assert ": nothing new\n\n" in pieces
    assert len(bus) == 0


async def test_the_stream_ends_when_the_panel_stops() -> None:
    bus = Bus()
    reading = asyncio.create_task(_all(bus.subscribe("box")))
    bus.close()
    assert len(await asyncio.wait_for(reading, 30)) == 1


async def _all(listener: Subscription) -> list[str]:
    return [piece async for piece in stream(listener)]


async def test_unknown_topics_and_too_many_listeners_are_refused(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        for topics in ("", "secrets", "box,nope", ",", "box%00"):
            answer = await panel.http.get(f"/api/v1/events?topics={topics}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "topic_unknown")
        bus: Bus = panel.app.state.bus
        listeners = [bus.subscribe("box") for _ in range(events.MOST_LISTENERS)]
        answer = await panel.http.get("/api/v1/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        for listener in listeners:
            listener.close()
