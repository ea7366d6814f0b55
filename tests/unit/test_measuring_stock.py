"""The baseline: what it is given, when it loads, and what its caller makes of what it hears."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil
import pytest
from livekit import rtc
from livekit.agents import AgentServer, JobProcess

from appliance.errors import TimedOut
from appliance.headset import Clip
from appliance.personas import Persona
from appliance.secrets import LiveKitKeys
from appliance.settings import PROJECT_DIR, Settings
from bench.stock import agent, caller, starting
from bench.stock.caller import StockCaller
from bench.stock.config import BUSY, READY, Config
from bench.stock.idle import tend
from services.llm.engine import spare_cores

pytestmark = pytest.mark.unit

WAIT_S = 30.0


@pytest.fixture
async def stock() -> AsyncIterator[StockCaller]:
    one = StockCaller("ws://127.0.0.1:1", LiveKitKeys("key", "secret"))
    yield one
    await one.leave()


def _config() -> Config:
    return Config(
        livekit_url="ws://127.0.0.1:1", api_key="key", api_secret="s" * 32, whisper="w", device="cpu",
        compute_type="int8", voice="v", llm_url="http://127.0.0.1:1/v1", rooms=2, health_port=0,
        persona=Persona(name="tester", instructions="Answer."),
    )  # fmt: skip


_ENDED_FROM_OUTSIDE = """
import asyncio, sys
from pathlib import Path
from appliance.cli.bench import run_until_told
from bench.stock.starting import _program

async def measuring():
    async with _program(["sleep", "600"], Path(sys.argv[1])) as program:
        print(program.pid, flush=True)
        await asyncio.Event().wait()

run_until_told(measuring())
"""


def test_a_measurement_that_is_ended_from_outside_ends_what_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ENDED_FROM_OUTSIDE, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        started = psutil.Process(int(bench.stdout.readline()))
        bench.terminate()
        assert bench.wait(WAIT_S) == 128 + signal.SIGTERM
    assert not started.is_running()


def test_llama_server_gets_the_threads_of_the_boxs_engine() -> None:
    def threads(settings: Settings) -> list[str]:
        command = starting.llama_server(settings, Path("model.gguf"), 4, 9000)
        return [command[command.index(name) + 1] for name in ("--threads", "--threads-batch")]

    assert threads(Settings()) == [str(spare_cores())] * 2
    assert threads(Settings.model_validate({"llm": {"threads": 3}})) == ["3", "3"]


def test_whisper_computes_where_and_in_what_the_box_does(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr("faster_whisper.WhisperModel", lambda _, **how: loaded.append(how))
    monkeypatch.setattr("piper.PiperVoice.load", lambda _: None)
    monkeypatch.setattr("livekit.agents.inference.VAD", lambda: None)
    agent.load(_config(), cast(JobProcess, SimpleNamespace(userdata={})))
    assert loaded == [{"device": "cpu", "compute_type": "int8"}]


class Pool:
    """The processes of a worker, as far as they are looked at."""

    def __init__(self, waiting: int) -> None:
        self._warmed_proc_queue: asyncio.Queue[None] = asyncio.Queue()
        self.target = -1
        self.warm(waiting)

    def warm(self, count: int) -> None:
        for _ in range(count):
            self._warmed_proc_queue.put_nowait(None)

    def set_target_idle_processes(self, count: int) -> None:
        self.target = count


def test_processes_are_replaced_between_the_calls_and_not_beside_one() -> None:
    pool, calls = Pool(2), list[str]()
    worker: Any = SimpleNamespace(id="AW_1", _proc_pool=pool, active_jobs=calls)
    server = cast(AgentServer, worker)
    assert (tend(server, 2), pool.target) == (True, 0)
    for call in ("a", "b"):
        pool._warmed_proc_queue.get_nowait()
        calls.append(call)
        assert (tend(server, 2), pool.target) == (False, 0)
    calls.pop()
    assert (tend(server, 2), pool.target) == (False, 0)
    calls.pop()
    assert (tend(server, 2), pool.target) == (False, 2)
    pool.warm(2)
    assert (tend(server, 2), pool.target) == (True, 0)
    worker.id = "unregistered"
    assert not tend(server, 2)


def test_the_framework_leaves_the_number_of_idle_processes_alone() -> None:
    server = agent.make_server(_config())
    assert server._load_threshold == float("inf")


async def test_the_worker_rests_when_ready_is_the_last_that_it_said(tmp_path: Path) -> None:
    told = tmp_path / "worker"
    for lines, is_ready in (
        (["a warning"], False), ([READY], True), ([READY, BUSY, "a warning"], False),
        ([READY, BUSY, READY, "a warning"], True),
    ):  # fmt: skip
        told.write_text("\n".join([*lines, ""]))
        assert await starting._is_ready(told) is is_ready


async def test_a_greeting_that_does_not_come_is_told_also_where_the_agent_listens(
    stock: StockCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "_GREETING_S", 0.05)
    monkeypatch.setattr("appliance.calling._GREETING_S", 0.05)
    monkeypatch.setattr(StockCaller, "agent_state", "listening")
    with pytest.raises(TimedOut, match="did not greet"):
        await stock.greeting()
    stock._is_greeted = False
    assert await stock.greeting() is None


async def test_a_greeting_is_heard_to_its_end_and_its_words_are_no_answer(
    stock: StockCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.calling._QUIET_S", 0.0)
    states = iter(["speaking"] * 3)
    monkeypatch.setattr(StockCaller, "agent_state", property(lambda _: next(states, "listening")))
    stock._answered_words.put("SG_1", 1, "Hello.")
    stock.ear.times, stock.ear.loudness = [time.monotonic()], [0.1]
    assert await stock.greeting() == stock.ear.times[0]
    assert next(states, "over") == "over"
    assert stock._answered_words.take() == ""


class Stream:
    """A text stream whose end comes when it is told."""

    def __init__(self, text: str, segment: str | None) -> None:
        attributes = {"lk.segment_id": segment} if segment else None
        self.info = SimpleNamespace(attributes=attributes)
        self.text = text
        self.ends = asyncio.Event()

    async def read_all(self) -> str:
        await self.ends.wait()
        return self.text


async def test_of_each_segment_the_last_text_counts(stock: StockCaller) -> None:
    interim, final = Stream("What is", "SG_1"), Stream("What is that?", "SG_1")
    more, bare = Stream("And this?", "SG_2"), Stream("Please.", None)
    answer = Stream("A cat.", "SG_1")
    for stream, sender in (
        (interim, "caller"), (final, "caller"), (more, "caller"), (bare, "caller"),
        (answer, "agent-1"),
    ):  # fmt: skip
        stock._words(cast(rtc.TextStreamReader, stream), sender)
    final.ends.set()
    await asyncio.wait(stock._readers, return_when=asyncio.FIRST_COMPLETED)
    for stream in (interim, more, bare, answer):
        stream.ends.set()
    await asyncio.wait(stock._readers)
    clip = Clip("q", np.zeros(480, np.float32), 0.0, 0.01)
    report = stock._report(clip, [], 10.0)
    assert (report.heard, report.answered) == ("What is that? And this? Please.", "A cat.")
    assert stock._report(clip, [], 10.0).heard == ""


async def test_a_sound_without_words_is_no_answer(stock: StockCaller) -> None:
    stock.ear.times, stock.ear.loudness = [12.0], [0.1]
    clip = Clip("q", np.zeros(480, np.float32), 0.0, 0.01)
    assert stock._report(clip, [], 10.0).ms["at_ear"] is None
    stock._answered_words.put("SG_1", 1, "A cat.")
    assert stock._report(clip, [], 10.0).ms["at_ear"] == 2000
