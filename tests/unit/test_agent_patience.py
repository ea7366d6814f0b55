"""Requests wait through a change of model, and the caller is told once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from appliance.catalogue.selection import Selection, Switch, SwitchState, write_selection
from appliance.settings import Settings
from services.agent.patience import Patience, PatientTransport
from services.agent.rank import LIVE
from tests.agent_fakes import until

pytestmark = pytest.mark.unit


def enter(settings: Settings, state: SwitchState, *, finished: bool = False) -> None:
    switch = Switch(task="llm", to="deep", state=state, finished=finished)
    write_selection(settings, Selection(switch=switch))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.mark.parametrize("end", ["committed", "rolled_back"])
async def test_a_request_waits_until_the_switch_is_over(
    end: SwitchState, settings: Settings
) -> None:
    patience = Patience(settings)
    await patience.wait("llm")
    enter(settings, "draining")
    sent = list[str]()

    def answer(_request: httpx2.Request) -> httpx2.Response:
        sent.append("sent")
        return httpx2.Response(200)

    transport = PatientTransport(httpx2.MockTransport(answer), patience, lambda: LIVE)
    async with httpx2.AsyncClient(transport=transport) as client:
        asking = asyncio.create_task(client.get("http://llm/"))
        for state in ("stopping", "starting", "canary"):
            enter(settings, state)
            await asyncio.wait({asking}, timeout=0.2)
            assert not sent
        enter(settings, end, finished=True)
        assert (await asking).status_code == 200


async def test_other_services_are_asked_meanwhile(settings: Settings) -> None:
    patience = Patience(settings, longest_s=600)
    enter(settings, "starting")
    await asyncio.wait_for(patience.wait("stt"), 30)
    assert patience.changing("llm")
    enter(settings, "checking")
    assert not patience.changing("llm"), "nothing has been touched yet"


async def test_nobody_waits_for_ever(settings: Settings) -> None:
    enter(settings, "starting")
    await asyncio.wait_for(Patience(settings, longest_s=0.2).wait("llm"), 30)


async def test_a_change_is_told_once_and_its_end_too(settings: Settings) -> None:
    told = list[str]()
    free = False

    def begun() -> bool:
        told.append("begun" if free else "busy")
        return free

    telling = asyncio.create_task(Patience(settings).announce(begun, lambda: told.append("over")))
    enter(settings, "draining")
    await until(lambda: told)
    free = True
    await until(lambda: "begun" in told)
    enter(settings, "canary")
    enter(settings, "committed", finished=True)
    await until(lambda: "over" in told)
    telling.cancel()
    assert told.count("begun") == 1


async def test_an_unreadable_file_holds_nobody_up(settings: Settings) -> None:
    settings.models_path.mkdir()
    (settings.models_path / "selection.json").write_text("{")
    await asyncio.wait_for(Patience(settings, longest_s=600).wait("llm"), 30)
