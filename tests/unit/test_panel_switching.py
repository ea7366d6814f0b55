"""A change of model survives a kill at every step, and the last good model serves afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.catalogue.entries import Task
from appliance.catalogue.selection import read_selection, write_selection
from appliance.errors import ApplianceError, NotReady
from appliance.settings import Settings
from services.panel.models import switching
from services.panel.models.asking import Pace, SwitchUnderWay, Wish
from services.panel.models.switching import Switcher
from tests.models_fakes import BABBLES, CRASHES, FORBIDDEN, GOOD, NEW, FakeBox, Hands, Killed
from tests.panel_app import until

pytestmark = pytest.mark.unit

FAST = Pace(look=0.001, drain=0.05, start=2.0, canary=2.0)
STATES = ("checking", "draining", "stopping", "starting", "canary")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, llm={"model": GOOD})


def panel(box: FakeBox) -> Switcher:
    """A new panel on this box."""
    # The method of the protocol has the name of a field here.
    hands: Any = Hands(box)
    return Switcher(box.settings, hands, pace=FAST)


async def change(box: FakeBox, to: str, context: int | None = None) -> Switcher:
    """Begin a switch and let it end, or die."""
    switcher = panel(box)
    try:
        await switcher.begin(Wish("llm", to, context_tokens=context))
        await switcher.settle()
    except Killed:
        pass
    return switcher


async def test_a_good_model_takes_over_step_by_step(settings: Settings) -> None:
    box = FakeBox(settings)
    told = list[str]()
    hands: Any = Hands(box)
    switcher = Switcher(settings, hands, lambda state: told.append(state["state"]), FAST)
    await switcher.begin(Wish("llm", NEW))
    await switcher.settle()
    assert told == [*STATES, "committed"]
    assert box.running == NEW
    assert box.ended == ["committed"]
    selection = read_selection(settings)
    assert selection.current == selection.last_good == {"llm": NEW}
    assert [step.state for step in selection.switch.steps] == told  # type: ignore[union-attr]


@pytest.mark.parametrize("to", [CRASHES, BABBLES, FORBIDDEN])
async def test_a_bad_model_is_rolled_back_with_the_reason(to: str, settings: Settings) -> None:
    box = FakeBox(settings)
    switcher = await change(box, to)
    state = switcher.state()
    assert state is not None
    assert (state["state"], state["finished"], bool(state["reason"])) == ("rolled_back", True, True)
    assert box.running == GOOD
    assert switcher.pause == ""
    again = await change(box, NEW)
    assert again.state()["state"] == "committed"  # type: ignore[index]
    await change(box, to)
    assert box.running == NEW, "back to the last good one, not to the first"


@pytest.mark.parametrize("to", [NEW, CRASHES, BABBLES])
async def test_the_last_good_model_serves_whenever_the_panel_is_killed(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = NEW if to == NEW else GOOD
    whole = FakeBox(Settings(data_dir=tmp_path / "whole", llm={"model": GOOD}))
    box = whole

    def write(settings: Settings, selection: Any) -> None:
        box.point()
        write_selection(settings, selection)
        box.point()

    monkeypatch.setattr(switching, "write_selection", write)
    await change(whole, to, 2048)
    killed_in = set[str]()
    for moment in range(1, whole.points + 1):
        settings = Settings(data_dir=tmp_path / f"{moment}", llm={"model": GOOD})
        box = FakeBox(settings, context=1024, kill_at=moment)
        await change(box, to, 2048)
        box.kill_at = None
        left = read_selection(settings).switch
        killed_in.add(left.state if left else "")
        if moment % 2:
            # The box went down with it: the service starts by itself with what the file says.
            box.running = box.loaded("llm")
        after = panel(box)
        await after.resume()
        await after.settle()
        begun = left is not None
        assert box.running == (expected if begun else GOOD), moment
        assert box.loaded("llm") == box.running, moment
        assert box.context == (2048 if begun and to == NEW else 1024), moment
        assert after.pause == "", moment
    never = {"canary"} if to == CRASHES else set[str]()
    assert killed_in >= {"", *STATES} - never
    assert "rolled_back" in killed_in or to == NEW


async def test_a_switch_that_kills_every_panel_is_given_up(settings: Settings) -> None:
    box = FakeBox(settings)
    box.kill_at = 4
    await change(box, NEW)
    for _ in range(2):
        box.points, box.kill_at = 0, 1
        dying = panel(box)
        await dying.resume()
        with pytest.raises(Killed):
            await dying.settle()
    box.kill_at = None
    last = panel(box)
    await last.resume()
    await last.settle()
    assert last.state()["state"] == "rolled_back"  # type: ignore[index]
    assert box.running == GOOD


async def test_one_switch_at_a_time_and_no_calls_meanwhile(settings: Settings) -> None:
    box = FakeBox(settings, flying=1)
    switcher = Switcher(settings, Hands(box), pace=Pace(look=0.001, drain=0.3))
    await switcher.begin(Wish("llm", NEW))
    with pytest.raises(SwitchUnderWay):
        await switcher.begin(Wish("stt", "other"))
    await until(lambda: switcher.pause)
    with pytest.raises(NotReady) as caught:
        switcher.require_calm()
    assert caught.value.code == "not_ready"
    assert box.running == GOOD, "a request in flight is waited for"
    await switcher.settle()
    switcher.require_calm()
    assert box.running == NEW


async def test_a_way_back_that_fails_says_so(settings: Settings) -> None:
    box = FakeBox(settings)

    async def never(task: Task) -> None:
        raise NotReady("box_not_running", "Earshot is not running.")

    box.start = never  # type: ignore[method-assign]
    switcher = await change(box, NEW)
    state = switcher.state()
    assert state is not None
    assert state["finished"]
    assert "does not start either" in state["reason"]


async def test_what_the_settings_begin_to_ask_for_is_tried_once(tmp_path: Path) -> None:
    def asking(model: str) -> FakeBox:
        return FakeBox(Settings(data_dir=tmp_path, llm={"model": model}))

    fresh = panel(asking(NEW))
    await fresh.follow_settings()
    assert fresh.state() is None, "never switched: the settings count anyway"
    again = await change(asking(GOOD), NEW)
    for asked, serves in ((GOOD, NEW), (BABBLES, NEW), (BABBLES, NEW), ("other", "other")):
        box = asking(asked)
        box.running = box.loaded("llm")
        again = panel(box)
        await again.resume()
        await again.follow_settings()
        assert box.running == box.loaded("llm") == serves, asked
    state = again.state()
    assert state is not None
    assert state["asked_by"] == "settings"


async def test_what_another_server_calls_its_model_is_not_tried_here(tmp_path: Path) -> None:
    await change(FakeBox(Settings(data_dir=tmp_path, llm={"model": GOOD})), NEW)
    box = FakeBox(Settings(data_dir=tmp_path, llm={"model": "qwen", "url": "http://10.0.0.9"}))
    box.running = box.loaded("llm")
    switcher = panel(box)
    await switcher.resume()
    await switcher.follow_settings()
    state = switcher.state()
    assert state is not None
    assert (state["to"], state["state"]) == (NEW, "committed")


async def test_a_broken_file_does_not_keep_the_panel_from_starting(settings: Settings) -> None:
    settings.models_path.mkdir()
    (settings.models_path / "selection.json").write_text("{")
    switcher = panel(FakeBox(settings))
    await switcher.resume()
    assert switcher.state() is None
    with pytest.raises(ApplianceError):
        await switcher.begin(Wish("llm", NEW))
