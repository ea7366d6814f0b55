"""Several synthetic callers at once: in turn or not, and whatever fails in one room."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import aiohttp
import httpx
import pytest
from livekit import api, rtc

from appliance import status
from appliance.calling import Caller, TurnReport
from appliance.cli import bench
from appliance.errors import ApplianceError, BadInput, NotReady
from appliance.gpu import Gpu
from appliance.headset import Clip, Spoken
from appliance.host import Host
from appliance.measuring import calls, watching
from appliance.measuring.figures import Turn, figures
from appliance.measuring.plan import RECORDINGS, Plan, Voices
from appliance.measuring.run import Task, measure
from appliance.measuring.sides import Side, check_seats, ours
from appliance.measuring.watching import Watch
from appliance.settings import PROJECT_DIR, Settings
from appliance.status import program_memory
from tests.waiting import eventually

pytestmark = pytest.mark.unit

GB = 1 << 30


class FakeCaller(Caller):
    """A caller without a room: what it asks is answered at once."""

    fails_at: ClassVar[set[int]] = set()
    fails_with: ClassVar[Exception] = NotReady("box_full", "All seats are taken.")
    breaks_off: ClassVar[bool] = False
    sounds: ClassVar[int | None] = 600
    made: ClassVar[int] = 0
    speaking: ClassVar[int] = 0
    most: ClassVar[int] = 0
    ended: ClassVar[int] = 0

    def __init__(self) -> None:
        self.number = type(self).made
        type(self).made += 1
        self.session_id = ""

    async def join(self) -> None:
        if self.number in self.fails_at and not self.breaks_off:
            raise self.fails_with
        self.session_id = f"s{self.number}"

    async def greeting(self) -> float | None:
        return None

    async def ask(
        self, clip: Clip, timeout_s: float = 1, *, floor: asyncio.Lock | None = None
    ) -> TurnReport:
        if self.number in self.fails_at:
            raise self.fails_with
        async with floor or asyncio.Lock():
            kind = type(self)
            kind.speaking += 1
            kind.most = max(kind.most, kind.speaking)
            for _ in range(5):
                await asyncio.sleep(0)
            kind.speaking -= 1
        report = TurnReport(clip.name, "what is that", "this", turns_in_file=1, turn=3)
        report.ms |= {"transcript": 200, "first_sound": self.sounds, "at_ear": 700}
        return report

    async def end(self) -> str:
        type(self).ended += 1
        if self.number in self.fails_at:
            raise self.fails_with
        return "completed"

    async def leave(self) -> None:
        return


@pytest.fixture
def caller() -> type[FakeCaller]:
    return type("Fresh", (FakeCaller,), {"fails_at": set()})


def _watch() -> Watch:
    return Watch(lambda: Host(50.0, 2, 8 * GB, 4 * GB, 0, 0), lambda: Gpu("absent"))


def _llm(answer: httpx.Response | None = None) -> Callable[[], httpx.AsyncClient]:
    def make() -> httpx.AsyncClient:
        transport = httpx.MockTransport(lambda _request: answer or httpx.Response(503))
        return httpx.AsyncClient(transport=transport, base_url="http://llm")

    return make


def _side(name: str, make: Callable[[], Caller]) -> Side:
    return Side(name, make, lambda: {"stt": 100_000_000}, _llm())


def _task(**plan: Any) -> Task:
    return Task(Plan(**plan), Voices.read(RECORDINGS), {"llm": "small"}, "a note")


def test_the_recordings_are_those_of_the_tests() -> None:
    for shipped in RECORDINGS.iterdir():
        kept = PROJECT_DIR / "tests" / "data" / "questions" / shipped.name
        assert shipped.read_bytes() == kept.read_bytes(), shipped.name


async def test_the_sides_change_places_and_every_turn_is_kept(caller: type[FakeCaller]) -> None:
    order: list[str] = []

    def made_for(side: str) -> Callable[[], Caller]:
        def make() -> Caller:
            order.append(side)
            return caller()

        return make

    told: list[tuple[int, int]] = []
    pair = [_side("ours", made_for("ours")), _side("stock", made_for("stock"))]
    task = _task(turns=3, per_call=1)
    result = await measure(task, pair, _watch(), lambda done, total: told.append((done, total)))
    assert order == ["ours", "stock", "stock", "ours", "ours", "stock"]
    assert told == [(n, 6) for n in range(1, 7)]
    whole = json.loads(json.dumps(result.as_json()))
    assert whole["ours"]["at_ear_ms"]["p50"] == whole["stock"]["at_ear_ms"]["p90"] == 700
    assert whole["ratio"] == {"at_ear_p50": 1.0, "at_ear_p90": 1.0}
    assert whole["ours"]["memory_mb"] == {"programs": {"stt": 100}, "total": 100}
    assert whole["ours"]["llm"] is None
    assert [turn["words_heard"] for turn in whole["turns"]] == [3] * 6
    assert (whole["note"], whole["machine"]["gpu"]) == ("a note", None)
    assert "what is that" not in json.dumps(whole)


@pytest.mark.parametrize(("overlap", "most"), [(False, 1), (True, 3)])
async def test_rooms_speak_in_turn_unless_told_otherwise(
    caller: type[FakeCaller], *, overlap: bool, most: int
) -> None:
    task = _task(rooms=3, turns=2, overlap=overlap)
    await measure(task, [_side("ours", caller)], _watch())
    assert (caller.most, caller.ended) == (most, 3)


async def test_a_room_that_cannot_join_disturbs_no_other(caller: type[FakeCaller]) -> None:
    caller.fails_at = {1}
    result = await measure(_task(rooms=2, turns=2), [_side("ours", caller)], _watch())
    assert [(turn.room, turn.why) for turn in result.turns] == [
        (0, ""), (0, ""), (1, "All seats are taken."), (1, "All seats are taken."),
    ]  # fmt: skip
    assert result.sides["ours"]["questions"] == {"asked": 4, "answered": 2, "cut_into": 0}


@pytest.mark.parametrize("breaks_off", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientError(), api.TwirpError("unavailable", "gone", status=503), TimeoutError(),
        ConnectionResetError(), rtc.ConnectError("no"), httpx.ReadTimeout("late"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_a_connection_that_fails_costs_its_own_room_only(
    caller: type[FakeCaller], error: Exception, *, breaks_off: bool
) -> None:
    caller.fails_at, caller.fails_with, caller.breaks_off = {1}, error, breaks_off
    result = await measure(_task(rooms=2, turns=1, pauses=1), [_side("ours", caller)], _watch())
    why = f"The call broke off: {type(error).__name__}."
    assert [(turn.room, turn.why) for turn in result.turns] == [
        (0, ""),
        (0, ""),
        (1, why),
        (1, why),
    ]
    assert result.sides["ours"]["pauses"] == {"made": 2, "spoken_into": 0, "failed": 1}


async def test_the_next_side_begins_when_the_one_before_rests(caller: type[FakeCaller]) -> None:
    order: list[str] = []

    def side(name: str) -> Side:
        def make() -> Caller:
            order.append(name)
            return caller()

        async def rested() -> None:
            order.append(f"{name} rests")

        return replace(_side(name, make), rested=rested)

    await measure(_task(turns=1), [side("ours"), side("stock")], _watch())
    assert order == ["ours", "ours rests", "stock", "stock rests"]


async def test_the_box_is_told_when_its_answers_were_heard(caller: type[FakeCaller]) -> None:
    told: list[tuple[str, int, int]] = []
    side = replace(_side("ours", caller), heard=lambda *what: told.append(what))
    await measure(_task(turns=2), [side], _watch())
    assert told == [("s0", 3, 700), ("s0", 3, 700)]


async def test_an_apology_is_no_answer(caller: type[FakeCaller]) -> None:
    caller.sounds = None
    with pytest.raises(ApplianceError, match="An apology was heard"):
        await measure(_task(turns=1), [_side("ours", caller)], _watch())


def test_a_question_without_a_turn_was_answered_by_an_apology_or_not_at_all() -> None:
    unheard = TurnReport("q")
    assert calls._why(unheard) == "No answer was heard."
    unheard.ms["at_ear"] = 2100
    assert calls._why(unheard) == "An apology was heard."
    assert not unheard.complete


async def test_nothing_measured_is_a_failure_with_its_reason(caller: type[FakeCaller]) -> None:
    caller.fails_at = {0}
    with pytest.raises(ApplianceError, match="All seats are taken"):
        await measure(_task(turns=1), [_side("ours", caller)], _watch())


def _box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **state: Any) -> Settings:
    """A box whose panel says this of itself."""
    said = {"ready": True, "why": [], "seats": 2, "calls": [], "waiting": 0} | state
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=said))
    real = httpx.AsyncClient
    monkeypatch.setattr("httpx.AsyncClient", lambda **options: real(transport=transport, **options))
    return Settings(data_dir=tmp_path)


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ({"ready": False, "why": ["Voice: loading."]}, "box_not_ready", "Voice: loading."),
        ({"calls": [{"id": "a"}]}, "callers_in", "A caller is on the line"),
        ({"calls": [{"id": "a"}], "waiting": 1}, "callers_in", "2 callers are"),
        ({"seats": 2}, "too_few_seats", "3 rooms need 3 seats, and the box has 2"),
        ({"seats": None}, "box_unreachable", "does not answer"),
    ],
)
async def test_a_box_that_cannot_be_measured_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, Any], code: str, words: str
) -> None:
    settings = _box(monkeypatch, tmp_path, **state)
    with pytest.raises(NotReady, match=words) as refused:
        await check_seats(settings, 3)
    assert refused.value.code == code


async def test_a_free_box_with_enough_seats_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await check_seats(_box(monkeypatch, tmp_path), 2)


async def test_others_on_the_line_are_told_apart_from_the_own_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    box = _box(monkeypatch, tmp_path, calls=[{"id": "own"}, {"id": "a"}], waiting=1)
    assert await ours(box, None).others({"own"}) == 2
    box = _box(monkeypatch, tmp_path, calls=None)
    assert await ours(box, None).others({"own"}) == 0


def test_without_the_sources_there_is_no_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bench.stock", None)
    with pytest.raises(BadInput, match="not part of this installation"):
        bench._stock(Settings(), 1, None)


def test_the_table_says_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> dict[str, Any]:
        kind = type("Fresh", (FakeCaller,), {"fails_at": set()})
        return (await measure(_task(turns=2), [_side("ours", kind)], _watch())).as_json()

    bench._show(asyncio.run(run()))
    shown = capsys.readouterr().out
    assert "heard" in shown
    assert "700" in shown
    assert "answered 2 of 2, cut into 0, p90 / p50 1.0" in shown
    assert "memory 100 MB" in shown


async def test_memory_that_is_given_back_before_the_end_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "_EVERY_S", 0.001)
    watch, used = _watch(), 300_000_000
    async with watch.during("ours", lambda: {"llm": used}):

        async def seen() -> bool:
            return bool(watch.programs["ours"])

        await eventually(seen)
        used = 100_000_000
    assert watch.figures("ours")["memory_mb"]["programs"] == {"llm": 300}


async def test_the_total_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_EVERY_S", 0.001)
    watch, used = _watch(), {"llm": 300_000_000, "tts": 100_000_000}
    async with watch.during("ours", lambda: used):

        async def seen() -> bool:
            return bool(watch.programs["ours"])

        await eventually(seen)
        used = {"llm": 100_000_000, "tts": 200_000_000}
    assert watch.figures("ours")["memory_mb"] == {
        "programs": {"llm": 300, "tts": 200},
        "total": 400,
    }


async def test_a_measurement_that_the_panel_started_is_no_part_of_the_panels_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    panel = SimpleNamespace(pid=os.getppid()), SimpleNamespace(pid=os.getpid())
    found = dict(zip(("panel", "bench"), panel, strict=True))
    monkeypatch.setattr("appliance.status._supervision", lambda _: (found, {}))
    settings = Settings(data_dir=tmp_path)
    assert program_memory(settings)["bench"] > 0
    assert ours(settings, None).memory()["bench"] == 0
    child = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        family = status._family(os.getppid()) - status._family(os.getpid())
        assert not {os.getpid(), child.pid} & {one.pid for one in family}
        assert os.getppid() in {one.pid for one in family}
    finally:
        child.kill()
        await child.wait()


async def test_the_machine_is_read_while_it_is_measured() -> None:
    watch = _watch()
    async with watch.during("ours", dict):

        async def read() -> bool:
            return bool(watch.readings["ours"])

        await eventually(read)
    assert watch.figures("ours")["cpu_percent"] == {"mean": 50.0, "max": 50.0}
    assert watch.figures("ours")["gpu_percent"] is None


async def test_an_agent_that_speaks_on_through_a_barge_in_is_counted() -> None:
    class SpeaksOn(FakeCaller):
        async def until(self, true: Callable[[], Any], timeout_s: float) -> bool:
            return bool(true())

        async def settled(self, since: float) -> None:
            """There is nothing to wait for."""

    async def say(clip: Clip) -> Spoken:
        return Spoken(clip, 10.0, 10.0 + clip.voiced_to_s)

    caller, voices = SpeaksOn(), Voices.read(RECORDINGS)
    caller.microphone = SimpleNamespace(say=say)  # type: ignore[assignment]
    heard = {"first_loud": lambda since: since, "silent_from": lambda *_: None}
    caller.ear = SimpleNamespace(**heard)  # type: ignore[assignment]
    turn = Turn("ours", 0, 0, "barge_in", "story")
    told = await calls._barge_in(caller, voices.long, voices.over, turn, asyncio.Lock())
    found = figures([told])
    assert found["barge_ins"] == {"made": 1, "silenced": 0, "never_silent": 1}
    under = {"memory_mb": {"total": 1}, "cpu_percent": None, "gpu_percent": None, "llm": None}
    assert "silenced by 0 of 1 barge-ins, spoke on in 1" in bench._told(found | under)
