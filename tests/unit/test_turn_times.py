"""Where the time of an answer went: kept, listed, counted for Prometheus."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from appliance.cli import turns
from appliance.errors import NotFound
from appliance.settings import load_settings
from appliance.store import EndState, Session, Store, open_store
from services.panel import latency
from tests.panel_app import Panel, box_settings, running_panel, stranger

pytestmark = pytest.mark.unit

MS = {"transcript": 300, "end_of_turn": 450, "first_sound": 700, "at_ear": None}
_AN_HOUR = timedelta(hours=1)
_HEARD = 'voice_turn_latency_seconds_count{stage="first_sound"}'


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    app = typer.Typer()
    turns.register(app)
    app.command("other")(lambda: None)
    return app


@pytest.fixture
def store(app: typer.Typer) -> Store:
    return open_store(load_settings())


def _held(store: Store, *times: dict[str, int | None], words: str = "a secret") -> Session:
    """A call with a greeting and these turns."""
    call = store.sessions.create(persona="default", keep_transcript=True)
    for ms in ({}, *times):
        index = store.turns.begin(call.id, words)
        store.turns.finish(call.id, index, words, interrupted=False, ms=ms)
    return call


def test_the_latest_turns_of_all_calls_are_listed(app: typer.Typer, store: Store) -> None:
    first, second = _held(store, MS), _held(store, {**MS, "first_sound": 812})
    answer = CliRunner().invoke(app, ["turns", "--json", "--limit", "3"])
    found = json.loads(answer.output)
    assert [(one["session_id"], one["index"]) for one in found] == [
        (second.id, 1), (second.id, 0), (first.id, 1),
    ]  # fmt: skip
    assert found[0]["ms"]["first_sound"] == 812
    assert "a secret" not in answer.output
    shown = CliRunner().invoke(app, ["turns"], env={"COLUMNS": "200"})
    assert "812" in shown.output
    assert "-" in shown.output


def test_one_calls_turns_are_listed_in_their_order(app: typer.Typer, store: Store) -> None:
    call, _other = _held(store, MS), _held(store, MS)
    store.turns.begin(call.id, "and")
    shown = CliRunner().invoke(app, ["turns", call.id], env={"COLUMNS": "200"})
    assert shown.output.count(call.id) == 3
    assert "no answer" not in shown.output
    assert "under way" in shown.output
    index = store.turns.begin(call.id, "or")
    store.turns.finish(call.id, index, "or", interrupted=False, ms=MS)
    # What came after it was answered, so it never will be.
    shown = CliRunner().invoke(app, ["turns", call.id], env={"COLUMNS": "200"})
    assert "no answer" in shown.output
    assert "under way" not in shown.output
    store.turns.begin(call.id, "and")
    store.sessions.end(call.id, EndState.COMPLETED)
    shown = CliRunner().invoke(app, ["turns"], env={"COLUMNS": "200"})
    assert shown.output.count("no answer") == 2
    assert "under way" not in shown.output
    unknown = CliRunner().invoke(app, ["turns", "nobody"])
    assert isinstance(unknown.exception, NotFound)


def test_looking_creates_nothing(app: typer.Typer, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["turns"]).output.strip() == "No turns yet."
    assert not (tmp_path / "data").exists()


def test_what_a_caller_heard_is_kept_with_its_turn(store: Store) -> None:
    call = _held(store, MS)
    assert store.turns.heard(call.id, 1, 905)
    assert store.turns.list(call.id)[1].ms == {**MS, "at_ear": 905}
    assert not store.turns.heard(call.id, 7, 905)
    index = store.turns.begin(call.id, "and")
    assert not store.turns.heard(call.id, index, 905)


def test_times_are_those_of_the_turns_finished_meanwhile(store: Store) -> None:
    call = _held(store, MS)
    now = datetime.now(UTC)
    assert store.turns.times(now - _AN_HOUR, now) == [{}, MS]
    assert store.turns.times(now, now + _AN_HOUR) == []
    # A call's last turn may be written after its end.
    store.sessions.end(call.id, EndState.COMPLETED)
    assert store.turns.times(now - _AN_HOUR, now) == [{}, MS]
    store.turns.begin(_held(store).id, "and")
    assert len(store.turns.times(now - _AN_HOUR, now + _AN_HOUR)) == 3


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


def _value(page: str, line: str) -> float:
    return float(next(one.rpartition(" ")[2] for one in page.splitlines() if one.startswith(line)))


async def test_finished_turns_are_counted_once_when_they_are_settled(panel: Panel) -> None:
    began = moment = datetime.now(UTC)
    counter = panel.app.state.latency = latency.Latency(
        panel.store, lambda: moment, lambda: (moment - began) / timedelta(seconds=1)
    )
    heard = 'voice_turn_latency_seconds_count{stage="at_ear"}'
    assert _value((await panel.http.get("/metrics")).text, heard) == 0

    call = _held(panel.store, MS, {**MS, "transcript": -40})
    panel.store.turns.heard(call.id, 1, 905)
    assert _value((await counter.page()).decode(), heard) == 0
    for later in (2 * latency.SETTLED, 3 * latency.SETTLED):
        moment = datetime.now(UTC) + later
        answer = await panel.http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert _value(answer.text, heard) == 1
        transcripts = 'voice_turn_latency_seconds_bucket{le="0.1",stage="transcript"}'
        assert _value(answer.text, transcripts) == 1
        sound = 'voice_turn_latency_seconds_sum{stage="first_sound"}'
        assert _value(answer.text, sound) == pytest.approx(1.4)


async def test_old_turns_are_not_counted_again_when_the_clock_is_set_forward(store: Store) -> None:
    _held(store, MS)
    moment, seconds = datetime.now(UTC) - timedelta(days=10), 0.0
    counter = latency.Latency(store, lambda: moment, lambda: seconds)
    assert _value((await counter.page()).decode(), _HEARD) == 0
    moment, seconds = datetime.now(UTC) + 2 * latency.SETTLED, 15.0
    assert _value((await counter.page()).decode(), _HEARD) == 0


async def test_counting_goes_on_when_the_clock_is_set_back(store: Store) -> None:
    moment, seconds = datetime.now(UTC) + _AN_HOUR, 0.0
    counter = latency.Latency(store, lambda: moment, lambda: seconds)
    await counter.page()
    moment, seconds = datetime.now(UTC), 15.0
    await counter.page()
    _held(store, MS)
    moment, seconds = moment + 2 * latency.SETTLED, 75.0
    assert _value((await counter.page()).decode(), _HEARD) == 1


async def test_a_clock_that_is_put_right_by_a_second_loses_no_turn(store: Store) -> None:
    moment, seconds = datetime.now(UTC), 0.0
    counter = latency.Latency(store, lambda: moment, lambda: seconds)
    _held(store, MS)
    moment, seconds = moment - timedelta(seconds=1), 0.5
    await counter.page()
    moment, seconds = moment + 2 * latency.SETTLED, 60.5
    assert _value((await counter.page()).decode(), _HEARD) == 1


async def test_metrics_are_for_whoever_may_read_and_on_this_machine_alone(panel: Panel) -> None:
    async with stranger(panel) as nobody:
        assert (await nobody.get("/metrics")).status_code == 401
    by_https = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.168.1.7"}
    refused = await panel.http.get("/metrics", headers=by_https)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "metrics_local"
