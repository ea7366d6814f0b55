"""A caller who speaks over the agent on a whole box, under each of a persona's manners."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml
from livekit import rtc

from appliance.calling import Caller
from appliance.headset import Clip
from appliance.settings import PROJECT_DIR
from appliance.store import Store
from tests.box import Box
from tests.recordings import DATA
from tests.results import note

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# Spoken by the agent, so that no model's mood decides how long it speaks.
GREETING = (
    "The old lighthouse stands at the end of the long stone pier. "
    "Every evening its keeper climbs two hundred steps to the lamp. "
    "He carries a basket with bread, a bottle of oil and a book."
)
SPEAK_AFTER_S = 1.0
WAIT = DATA / "questions" / "wait.flac"
MHM = DATA / "sounds" / "mhm.flac"
# One transcript on a busy machine.
JUDGED_S = 3.0


@asynccontextmanager
async def greeted_by(box: Box, manner: str) -> AsyncIterator[Caller]:
    """A caller in the middle of the greeting of a persona of this manner."""
    default = yaml.safe_load((PROJECT_DIR / "config" / "personas" / "default.yaml").read_text())
    persona = default | {"name": f"over-{manner}", "greeting": GREETING, "barge_in": manner}
    folder = box.settings.data_dir / "personas"
    folder.mkdir(exist_ok=True)
    (folder / f"over-{manner}.yaml").write_text(yaml.safe_dump(persona))
    await asyncio.to_thread(box.wait_ready)
    caller = Caller(box.url, f"over-{manner}", token=box.token)
    try:
        await caller.join()
        assert await caller.until(lambda: caller.ear.first_loud(caller.joined_at), 30)
        began = caller.ear.first_loud(caller.joined_at) or 0.0
        await caller.until(lambda: time.monotonic() > began + SPEAK_AFTER_S, 5)
        yield caller
    finally:
        await caller.leave()


async def say(caller: Caller, manner: str) -> dict[str, Any]:
    """Speak over the agent; the turn that is told of then."""
    began = (await caller.microphone.say(Clip.read(WAIT))).first_voiced
    assert await caller.until(lambda: caller.turns, 30), "no turn was told of"
    silent = caller.ear.silent_from(began, 0.4)
    seconds = round(silent - began, 2) if silent else None
    note("spoken over", manner=manner, silence_s=seconds, heard=caller.turns[0]["agent_text"])
    return caller.turns[0]


async def test_stop(box: Box) -> None:
    async with greeted_by(box, "stop") as caller:
        turn = await say(caller, "stop")
    assert turn["interrupted"]
    assert GREETING.startswith(turn["agent_text"])
    assert turn["agent_text"] != GREETING
    kept = await asyncio.to_thread(Store(box.settings.store_url).turns.list, caller.session_id)
    assert (kept[0].agent_text, kept[0].interrupted) == (turn["agent_text"], True)


async def test_finish(box: Box) -> None:
    async with greeted_by(box, "finish") as caller:
        turn = await say(caller, "finish")
    assert turn["interrupted"]
    assert GREETING.startswith(turn["agent_text"])
    assert turn["agent_text"] != GREETING
    whole, _, rest = turn["agent_text"].rpartition(".")
    assert whole, "it stopped in its first sentence"
    # A machine that is held up lets a word of the next one out.
    assert len(rest.split()) <= 1


async def test_ignore(box: Box) -> None:
    async with greeted_by(box, "ignore") as caller:
        said = await caller.microphone.say(Clip.read(MHM))
        await caller.until(lambda: caller.turns or time.monotonic() > said.ended + JUDGED_S, 30)
        assert not caller.turns, "a sound ended the answer"
        turn = await say(caller, "ignore")
    assert turn["interrupted"]
    assert GREETING.startswith(turn["agent_text"])
    assert turn["agent_text"] != GREETING


async def test_resume(box: Box) -> None:
    states: list[tuple[str, float]] = []

    def on_attributes(changed: dict[str, str], _of: rtc.Participant) -> None:
        if "lk.agent.state" in changed:
            states.append((changed["lk.agent.state"], time.monotonic()))

    async with greeted_by(box, "resume") as caller:
        caller.room.on("participant_attributes_changed", on_attributes)
        began = (await caller.microphone.say(Clip.read(MHM))).began
        assert await caller.until(lambda: caller.turns, 40), "the greeting never ended"
        turn = caller.turns[0]
    # It stopped, and spoke again before the turn was over.
    assert [state for state, _ in states[:2]] == ["listening", "speaking"]
    note("false alarm", manner="resume", silence_s=round(states[0][1] - began, 2))
    assert not turn["interrupted"]
    assert turn["agent_text"] == GREETING
