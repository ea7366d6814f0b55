"""Speaking over the agent, typing, leaving, and a call whose words are not kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import yaml

from appliance.calling import Caller
from appliance.headset import Clip
from appliance.settings import PROJECT_DIR
from appliance.store import Store
from tests.box import Box
from tests.recordings import DATA
from tests.results import note
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SPEAK_OVER_AFTER_S = 1.0


def clip(name: str) -> Clip:
    return Clip.read(DATA / "questions" / f"{name}.flac")


@pytest_asyncio.fixture
async def caller(box: Box) -> AsyncIterator[Caller]:
    """A caller who has been greeted."""
    await asyncio.to_thread(box.wait_ready)
    calling = Caller(box.url, token=box.token)
    try:
        await calling.join()
        await calling.greeting()
        yield calling
    finally:
        await calling.leave()


async def test_speaking_over_the_agent_silences_it(box: Box, caller: Caller) -> None:
    before = len(caller.turns)
    ended = (await caller.microphone.say(clip("story"))).last_voiced
    assert await caller.until(lambda: caller.ear.first_loud(ended), 20), "no answer"
    started = caller.ear.first_loud(ended) or ended
    await caller.until(lambda: time.monotonic() > started + SPEAK_OVER_AFTER_S, 5)
    spoken = (await caller.microphone.say(clip("wait"))).first_voiced
    assert await caller.until(lambda: len(caller.turns) > before, 20), "the turn did not end"
    silent = caller.ear.silent_from(spoken, 0.4)
    cut = caller.turns[before]
    note(
        "barge-in to silence",
        seconds=round(silent - spoken, 2) if silent else None,
        interrupted=cut["interrupted"],
    )
    assert cut["interrupted"], cut
    report = await caller.ask(clip("japan"))
    assert "japan" in report.heard.lower(), report
    assert report.complete, report
    turns = await asyncio.to_thread(Store(box.settings.store_url).turns.list, caller.session_id)
    kept = next(turn for turn in turns if turn.user_text and "story" in turn.user_text)
    assert kept.interrupted
    assert kept.agent_text == cut["agent_text"]


async def test_a_typed_question_is_answered(caller: Caller) -> None:
    before = len(caller.turns)
    sent = time.monotonic()
    await caller.type("What is the capital of France?")
    assert await caller.until(lambda: len(caller.turns) > before, 30), "no answer"
    assert "paris" in caller.turns[-1]["agent_text"].lower()
    assert caller.ear.first_loud(sent) is not None


async def test_a_caller_who_leaves_has_left(box: Box, caller: Caller) -> None:
    sessions = Store(box.settings.store_url).sessions
    await caller.room.disconnect()
    until(lambda: sessions.get(caller.session_id).state != "active", 30, "the end of the call")
    assert sessions.get(caller.session_id).state == "caller_left"


async def test_words_that_are_not_to_be_kept_are_not(box: Box) -> None:
    default = PROJECT_DIR / "config" / "personas" / "default.yaml"
    discreet = yaml.safe_load(default.read_text()) | {"name": "discreet", "keep_transcript": False}
    folder = box.settings.data_dir / "personas"
    folder.mkdir(exist_ok=True)
    (folder / "discreet.yaml").write_text(yaml.safe_dump(discreet))
    calling = Caller(box.url, "discreet", token=box.token)
    try:
        await calling.join()
        await calling.greeting()
        report = await calling.ask(clip("france"))
        assert report.complete, report
        assert await calling.end() == "completed"
    finally:
        await calling.leave()
    turns = await asyncio.to_thread(Store(box.settings.store_url).turns.list, calling.session_id)
    assert len(turns) >= 2
    assert {turn.user_text for turn in turns} | {turn.agent_text for turn in turns} == {None}
