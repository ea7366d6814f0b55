"""`appliance sessions`: list and show, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from appliance.cli import sessions
from appliance.errors import NotFound
from appliance.settings import load_settings
from appliance.store import EndState, Session, open_store

pytestmark = pytest.mark.unit


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The command with a data folder of its own, not yet created."""
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    app = typer.Typer()
    sessions.register(app)
    return app


@pytest.fixture
def call(app: typer.Typer) -> Session:
    """A held call with a greeting and one turn."""
    store = open_store(load_settings())
    made = store.sessions.create(persona="default", keep_transcript=True)
    store.turns.begin(made.id, None)
    store.turns.finish(made.id, 0, "Hello.", interrupted=False, ms={})
    store.turns.begin(made.id, "What is [red]this[/red]?")
    store.turns.finish(made.id, 1, "It is", interrupted=True, ms={"transcript": 5})
    store.sessions.end(made.id, EndState.CALLER_LEFT, "hung up")
    return made


def test_looking_creates_nothing(app: typer.Typer, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["sessions", "list"])
    assert (shown.exit_code, shown.output.strip()) == (0, "No calls yet.")
    assert not (tmp_path / "data").exists()


def test_list_and_show_for_people(app: typer.Typer, call: Session) -> None:
    listed = CliRunner().invoke(app, ["sessions", "list"])
    assert call.id in listed.output
    shown = CliRunner().invoke(app, ["sessions", "show", call.id])
    assert shown.exit_code == 0
    assert "caller_left (hung up)" in shown.output
    assert "caller  What is [red]this[/red]?" in shown.output
    assert "agent   It is  [cut short]" in shown.output


def test_list_and_show_for_programs(app: typer.Typer, call: Session) -> None:
    listed = json.loads(CliRunner().invoke(app, ["sessions", "list", "--json"]).output)
    assert [one["session_id"] for one in listed] == [call.id]
    shown = CliRunner().invoke(app, ["sessions", "show", call.id, "--json"])
    whole = json.loads(shown.output)
    assert whole["state"] == "caller_left"
    assert [turn["agent_text"] for turn in whole["turns"]] == ["Hello.", "It is"]
    assert whole["turns"][1]["ms"] == {"transcript": 5}


@pytest.mark.parametrize("held", [True, False])
def test_an_unknown_id_is_bad_input(
    app: typer.Typer, request: pytest.FixtureRequest, held: bool
) -> None:
    if held:
        request.getfixturevalue("call")
    refused = CliRunner().invoke(app, ["sessions", "show", "nobody"])
    assert isinstance(refused.exception, NotFound)
    assert refused.exception.exit_code == 2
