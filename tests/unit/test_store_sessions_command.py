"""`appliance sessions`: list and show, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from appliance.cli import sessions
from appliance.errors import BadInput, NotFound, Refused
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


def test_a_call_is_exported(app: typer.Typer, call: Session, tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["sessions", "export", call.id, "--format", "text"])
    assert "Caller: What is [red]this[/red]?" in printed.output
    file = tmp_path / "call.srt"
    arguments = ["sessions", "export", call.id, "--format", "srt", "--output", str(file)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "Assistant: It is [cut short]" in file.read_text(encoding="utf-8")
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, BadInput)
    entry = open_store(load_settings()).audit.list()[0][0]
    assert (entry.actor, entry.action, entry.object) == ("command", "call.exported", call.id)


def test_deletion_asks_first(app: typer.Typer, call: Session) -> None:
    refused = CliRunner().invoke(app, ["sessions", "delete", "--id", call.id], input="n\n")
    assert refused.exit_code != 0
    assert "Delete 1 call and everything that was said?" in refused.output
    assert open_store(load_settings()).sessions.get(call.id).id == call.id
    done = CliRunner().invoke(app, ["sessions", "delete", "--id", call.id], input="y\n")
    assert "Deleted 1 with 2 turns." in done.output
    store = open_store(load_settings())
    assert store.sessions.list() == []
    assert store.audit.list()[0][0].action == "call.deleted"


def test_deletion_by_age_and_of_all_leaves_open_calls(app: typer.Typer, call: Session) -> None:
    store = open_store(load_settings())
    live = store.sessions.create(persona="default", keep_transcript=True)
    by_age = ["sessions", "delete", "--older-than-days", "1", "--yes"]
    assert "There is no such call." in CliRunner().invoke(app, by_age).output
    done = CliRunner().invoke(app, ["sessions", "delete", "--all", "--yes"])
    assert "Deleted 1 with 2 turns." in done.output
    assert [one.id for one in store.sessions.list()] == [live.id]
    refused = CliRunner().invoke(app, ["sessions", "delete", "--id", live.id, "--yes"])
    assert isinstance(refused.exception, Refused)
    assert call.id != live.id


@pytest.mark.parametrize("options", [[], ["--all", "--id", "x"], ["--all", "--older-than-days=1"]])
def test_deletion_must_say_of_what(app: typer.Typer, options: list[str]) -> None:
    refused = CliRunner().invoke(app, ["sessions", "delete", "--yes", *options])
    assert isinstance(refused.exception, BadInput)
