"""kill -9 in the middle of a call: the talk goes on, and what was said is all there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import pytest_asyncio

from appliance.calling import Caller, TurnReport
from appliance.headset import Clip
from appliance.store import Store
from appliance.supervision import supervisor_of
from tests.box import Box
from tests.recordings import DATA, error_rate, in_order
from tests.results import note

pytestmark = [
    pytest.mark.chaos, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip

SPEECH_SERVICES = ("stt", "llm", "tts")
MISHEARD = 0.5
# Unlike each other, so that none can be taken for another.
QUESTIONS = {
    entry["file"].removesuffix(".flac"): entry["text"]
    for entry in json.loads((DATA / "questions" / "manifest.json").read_text(encoding="utf-8"))
}


def clip(name: str) -> Clip:
    return Clip.read(DATA / "questions" / f"{name}.flac")


def is_question(text: str, name: str) -> bool:
    """Whether this is that question, a misheard word apart: the ear is small, the machine busy."""
    return error_rate([QUESTIONS[name]], [text]) <= MISHEARD


def understood(report: TurnReport, name: str) -> None:
    """The question was heard and answered; whether rightly is for the tests of questions."""
    assert is_question(report.heard, name), report
    assert report.complete, report


@dataclass
class Talk:
    """A call under way. What is below was so when the test began."""

    caller: Caller
    heard: list[str]
    """The questions that the store holds."""
    notices: int

    def new_notices(self) -> list[dict[str, Any]]:
        """What the page was told since the test began."""
        return self.caller.notices[self.notices :]


async def begin(box: Box) -> Caller:
    """A caller who has been greeted and had one question answered."""
    calling = Caller(box.url, token=box.token)
    try:
        await calling.join()
        await calling.greeting()
        understood(await calling.ask(clip("france")), "france")
    except BaseException:
        await calling.leave()
        raise
    return calling


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held() -> AsyncIterator[list[Caller]]:
    """The call that goes on into the next test, if there is one."""
    calls: list[Caller] = []
    yield calls
    for calling in calls:
        await calling.leave()


@pytest_asyncio.fixture(loop_scope="module")
async def talk(box: Box, held: list[Caller], request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    """A talk in order: that of the test before, unless it failed or was about something else."""
    await asyncio.to_thread(box.wait_ready)
    if not held:
        held.append(await begin(box))
    caller = held[0]
    assert await caller.until(lambda: caller.agent_state == "listening", 15)
    assert len(caller.room.remote_participants) == 1
    failed = request.session.testsfailed
    yield Talk(caller, questions_kept(box, caller), len(caller.notices))
    await asyncio.to_thread(box.wait_ready)
    marker = request.node.get_closest_marker("parametrize")
    last = marker is None or request.node.callspec.params[marker.args[0]] == marker.args[1][-1]
    if last or request.session.testsfailed > failed:
        await held.pop().leave()


def questions_kept(box: Box, caller: Caller) -> list[str]:
    """What the caller has asked, as the store holds it."""
    turns = Store(box.settings.store_url).turns.list(caller.session_id)
    return [turn.user_text for turn in turns if turn.user_text]


def keeps(box: Box, talk: Talk, *names: str) -> None:
    """The store holds all from before and then these questions, in this order, each once."""
    asked = questions_kept(box, talk.caller)
    before = len(talk.heard)
    assert before >= 1
    assert asked[:before] == talk.heard
    assert in_order([QUESTIONS[name] for name in names], asked[before:], MISHEARD), asked


def job_of(box: Box, caller: Caller) -> psutil.Process:
    """The agent's process of this call: the one that holds a UDP socket."""
    worker = psutil.Process(box.pid("agent"))
    jobs = [
        child
        for child in worker.children(recursive=True)
        if any(c.laddr for c in child.net_connections(kind="udp"))
    ]
    assert len(jobs) == 1, jobs
    return jobs[0]


async def ask_until_answered(caller: Caller, name: str, within_s: float) -> TurnReport:
    """Ask again, as a person would, until there is an answer."""
    deadline = time.monotonic() + within_s
    while True:
        report = await caller.ask(clip(name), timeout_s=15)
        if report.answered or time.monotonic() > deadline:
            return report


def newcomer(caller: Caller, before: set[str]) -> bool:
    """Whether an agent is in the room that was not there before."""
    return any(
        name.startswith("agent-") and name not in before for name in caller.room.remote_participants
    )


async def goes_on_with_a_new_agent(box: Box, talk: Talk) -> None:
    """The newcomer has been heard, has read what was said, and answers the next question."""
    caller = talk.caller
    resumed = next(
        line
        for line in reversed(
            (box.settings.data_dir / "logs" / "agent.log").read_text().splitlines()
        )
        if '"talk_resumed"' in line
    )
    assert json.loads(resumed)["earlier_turns"] == len(questions_kept(box, caller)) >= 1
    await caller.until(lambda: caller.agent_state == "listening", 10)
    report = await caller.ask(clip("week"))
    understood(report, "week")
    assert len(caller.room.remote_participants) == 1, "two agents"
    keeps(box, talk, "week")


async def test_a_dead_agent_is_replaced_and_knows_the_talk(box: Box, talk: Talk) -> None:
    caller = talk.caller
    job = job_of(box, caller)
    before = set(caller.room.remote_participants)
    at = time.monotonic()
    job.kill()
    assert await caller.until(lambda: newcomer(caller, before), 9), "no new agent"
    joined_s = time.monotonic() - at
    assert await caller.until(lambda: caller.ear.first_loud(at + joined_s), 15), "no sound of it"
    heard = caller.ear.first_loud(at + joined_s) or 0
    note(
        "new agent after kill -9 of a job",
        joined_s=round(joined_s, 2),
        heard_s=round(heard - at, 2),
    )
    await goes_on_with_a_new_agent(box, talk)


@pytest.mark.parametrize("how", ["killed", "restarted"])
async def test_the_talk_survives_the_agent_program(box: Box, talk: Talk, how: str) -> None:
    caller = talk.caller
    before = set(caller.room.remote_participants)
    at = time.monotonic()
    if how == "killed":
        box.kill("agent")
    else:
        await asyncio.to_thread(box.command, "restart", "agent")
    assert await caller.until(lambda: newcomer(caller, before), 90), "no new agent"
    joined_s = time.monotonic() - at
    note(f"new agent after the agent program was {how}", joined_s=round(joined_s, 2))
    assert await caller.until(lambda: caller.ear.first_loud(at + joined_s), 15), "no sound of it"
    await goes_on_with_a_new_agent(box, talk)


async def test_the_talk_survives_livekit(box: Box, talk: Talk) -> None:
    caller = talk.caller
    agents = set(caller.room.remote_participants)
    reconnected: list[float] = []
    caller.room.on("reconnected", lambda: reconnected.append(time.monotonic()))
    at = time.monotonic()
    box.kill("livekit")
    assert await caller.until(lambda: reconnected and caller.agent_present(), 30), "no way back"
    report = await ask_until_answered(caller, "week", 30)
    note(
        "after kill -9 of livekit",
        reconnected_s=round(reconnected[0] - at, 1),
        answered_s=round(time.monotonic() - at, 1),
    )
    understood(report, "week")
    assert set(caller.room.remote_participants) == agents, "another agent came"
    assert not caller.disconnected.is_set()
    asked = questions_kept(box, caller)
    assert asked[: len(talk.heard)] == talk.heard
    assert len(asked) > len(talk.heard) >= 1


@pytest.mark.parametrize("program", ["panel", "front", "front-spare"])
async def test_the_talk_does_not_notice(box: Box, talk: Talk, program: str) -> None:
    caller = talk.caller
    agents = set(caller.room.remote_participants)
    box.kill(program)
    understood(await caller.ask(clip("week")), "week")
    assert set(caller.room.remote_participants) == agents
    await asyncio.to_thread(box.wait_ready)
    understood(await caller.ask(clip("ocean")), "ocean")
    assert set(caller.room.remote_participants) == agents
    keeps(box, talk, "week", "ocean")


async def goes_on(box: Box, talk: Talk, questions: int) -> None:
    """The service comes back, the next question is answered, and nothing said is lost."""
    caller = talk.caller
    assert await caller.until(lambda: caller.agent_state == "listening", 30)
    await asyncio.to_thread(box.wait_ready)
    report = await ask_until_answered(caller, "ocean", 30)
    understood(report, "ocean")
    asked = questions_kept(box, caller)
    before = len(talk.heard)
    assert asked[:before] == talk.heard
    assert is_question(asked[0], "france")
    assert is_question(asked[-1], "ocean")
    assert len(asked) - before >= questions, asked


@pytest.mark.parametrize("program", SPEECH_SERVICES)
async def test_a_dead_service_is_said_and_the_talk_goes_on(
    box: Box, talk: Talk, program: str
) -> None:
    caller = talk.caller
    ear = caller.ear
    # Stopped, for a killed one is back before the question is over.
    supervisor = supervisor_of(box.settings)
    await asyncio.to_thread(supervisor.stop, program)
    ended = (await caller.microphone.say(clip("week"))).last_voiced
    assert await caller.until(lambda: ear.first_loud(ended), 15), "silence"
    heard_s = (ear.first_loud(ended) or 0) - ended
    note("apology after the end of the utterance", program=program, seconds=round(heard_s, 2))
    assert await caller.until(talk.new_notices, 15), "the page was not told"
    assert talk.new_notices()[0]["code"] == f"{program}_failed"
    await asyncio.to_thread(supervisor.start, program)
    await goes_on(box, talk, questions=1 if program == "stt" else 2)


@pytest.mark.parametrize("program", SPEECH_SERVICES)
async def test_a_service_that_dies_at_work_is_said(box: Box, talk: Talk, program: str) -> None:
    caller = talk.caller
    # Held, so that the request is surely running when the program dies.
    held = psutil.Process(box.pid(program))
    held.suspend()
    await caller.microphone.say(clip("week"))
    if program != "stt":
        assert await caller.until(lambda: caller.agent_state == "thinking", 15)
    at = time.monotonic()
    held.kill()
    assert await caller.until(lambda: caller.ear.first_loud(at), 15), "silence"
    heard_s = (caller.ear.first_loud(at) or 0) - at
    note("apology after a kill at work", program=program, seconds=round(heard_s, 2))
    assert await caller.until(talk.new_notices, 15), "the page was not told"
    assert talk.new_notices()[0]["code"] == f"{program}_failed"
    await goes_on(box, talk, questions=1 if program == "stt" else 2)
