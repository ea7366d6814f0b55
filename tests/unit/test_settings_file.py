"""settings.toml is changed line by line, whole or not at all, and only from what was seen."""

from __future__ import annotations

import os
import stat
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance import settings_file
from appliance.errors import ApplianceError, BadInput, BadSettings
from appliance.setting_effects import FIXED, RESTARTS, WHOLE_BOX, restarts
from appliance.settings import Settings, load_settings, setting_names
from appliance.settings_file import ChangedMeanwhile, parse, problems, read_file, save
from appliance.settings_text import edited, keeps_comments, toml_text

pytestmark = pytest.mark.unit

OWNERS = """\
# Our box in the hall.
log_level = "debug"  # while we look for the noise

[front]
# 80 was taken
http_port = 8081

[agent]
seats = 2 # two rooms

# nothing below
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("APPLIANCE_", "LIVEKIT_", "WHISPER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box whose owner has written a file."""
    made = Settings(data_dir=tmp_path)
    made.settings_file.write_text(OWNERS)
    return made


def test_every_setting_says_which_programs_its_change_restarts() -> None:
    assert set(RESTARTS) == set(setting_names())
    assert set(FIXED) <= set(RESTARTS)
    programs = {program for those in RESTARTS.values() for program in those}
    assert programs == {"stt", "llm", "tts", "agent", "panel", *WHOLE_BOX}


def test_restarts_are_in_order_and_the_whole_box_swallows_the_rest() -> None:
    assert restarts(["front.cors_origins", "llm.context_tokens"]) == ("llm", "agent", "panel")
    assert restarts(["persona", "front.http_port"]) == WHOLE_BOX
    assert restarts([]) == ()


def test_a_change_leaves_every_other_line_alone(settings: Settings) -> None:
    before = read_file(settings)
    saved = save(settings, {"agent.seats": "3", "front.http_port": None}, before.version)
    text = settings.settings_file.read_text()
    assert text == OWNERS.replace("seats = 2 #", "seats = 3 #").replace("http_port = 8081\n", "")
    assert saved.version == read_file(settings).version != before.version
    assert load_settings().agent.seats == 3
    assert stat.S_IMODE(settings.settings_file.stat().st_mode) == 0o600


def test_a_new_setting_goes_to_its_group_and_a_new_group_to_the_end(settings: Settings) -> None:
    changes = {"persona": "clerk", "agent.drain_s": 9, "front.cors_origins": ["http://a:1"]}
    save(settings, {**changes, "tts.gain": 1.5}, read_file(settings).version)
    lines = settings.settings_file.read_text().splitlines()
    assert lines[:3] == [OWNERS.splitlines()[0], OWNERS.splitlines()[1], 'persona = "clerk"']
    assert lines[lines.index("http_port = 8081") + 1] == 'cors_origins = ["http://a:1"]'
    assert lines[lines.index("seats = 2 # two rooms") + 1] == "drain_s = 9"
    assert lines[-2:] == ["[tts]", "gain = 1.5"]
    assert load_settings().front.cors_origins == ["http://a:1"]


def test_the_first_change_makes_the_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    save(settings, {"public_url": "https://box.lan"}, read_file(settings).version)
    assert settings.settings_file.read_text() == 'public_url = "https://box.lan"\n'


@pytest.mark.parametrize(
    "text",
    [
        "front = { http_port = 8081 } # one line\n",
        "front.http_port = 8081\n",
        '"log_level" = "info"\n[front]\nhttp_port = 8081\n',
        '[front]\nhttp_port = 8081\ncors_origins = [\n  "http://a:1", # one\n  "http://b:2",\n]\n',
        'persona = """a\nb = 3\n[front]"""\n[front]\nhttp_port = 8081',
    ],
)
def test_whatever_way_it_is_written_a_change_means_the_same(text: str) -> None:
    after = {**parse(text), "front.http_port": 9000, "tts.gain": 2.0}
    assert parse(edited(text, after)) == after
    assert parse(toml_text(after)) == after


def test_a_form_that_only_a_rewrite_can_change_is_said_beforehand() -> None:
    text = '# mine\n"log_level" = "debug"\n'
    assert keeps_comments(OWNERS, {**parse(OWNERS), "front.http_port": 1})
    assert not keeps_comments(text, {"log_level": "info"})


@pytest.mark.parametrize("value", ['quote " and \\', "ümlaut 漢字 🎧", "#no remark", "'", "a\x7fb"])
def test_any_text_comes_back_as_it_was(value: str) -> None:
    text = toml_text({"persona": value})
    assert tomllib.loads(text) == {"persona": value}
    assert parse(edited("persona = 'x' # why\n", {"persona": value})) == {"persona": value}


def test_a_file_that_changed_meanwhile_is_not_overwritten(settings: Settings) -> None:
    seen = read_file(settings).version
    settings.settings_file.write_text(OWNERS.replace("seats = 2", "seats = 5"))
    with pytest.raises(ChangedMeanwhile):
        save(settings, {"agent.seats": 3}, seen)
    assert read_file(settings).values["agent.seats"] == 5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"agent.seats": 65}, "The setting 'agent.seats' (given value) cannot be 65"),
        ({"agent.seats": "many"}, "cannot be 'many'"),
        ({"agent.seets": 2}, "There is no setting 'agent.seets'"),
        ({"seats": 2}, "There is no setting 'seats'"),
        ({"agent": {"seats": 2}}, "'agent'"),
        ({"front.cors_origins": ["ok", 3]}, "'front.cors_origins"),
        ({"persona": "a\x00b"}, "cannot be typed"),
        ({"persona": "\ud800"}, "cannot be typed"),
        ({"tts.gain": float("nan")}, "must be a number"),
        ({"data_dir": "/elsewhere"}, "is not changed here"),
        ({"llm.model": "other"}, "is not changed here"),
        ({"llm.context_tokens": 8192}, "is not changed here"),
        ({"stt.compute_type": "int7"}, "cannot be 'int7'"),
        ({"front.cors_origins": ["http://a:1", "https://b.example/page"]}, "'front.cors_origins"),
        (
            {"front.cors_origins": ["*"]},
            "cannot be '*': it is not of the form of e.g. http://localhost:3000.",
        ),
        (
            {"public_url": "box.lan"},
            "it is not of the form of e.g. https://earshot.example.lan:8443.",
        ),
        ({"livekit.api_secret": ["hunter2hunter2"]}, "'livekit.api_secret'"),
    ],
)
def test_an_impossible_change_changes_nothing(
    settings: Settings, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(BadInput) as error:
        save(settings, changes, read_file(settings).version)
    assert told in error.value.message
    assert "hunter2" not in str(error.value)
    assert settings.settings_file.read_text() == OWNERS


def test_a_setting_of_the_environment_is_not_changed_in_the_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_AGENT__SEATS", "7")
    monkeypatch.setenv("LIVEKIT_ROOM_NAME", "hall")
    for name in ("agent.seats", "livekit.room_name"):
        with pytest.raises(BadInput, match="environment variable"):
            save(settings, {name: "3"}, read_file(settings).version)


def test_a_broken_file_is_named_with_its_line_and_left_as_it_is(settings: Settings) -> None:
    settings.settings_file.write_text('[front]\nhttp_port = = 1\napi_secret = "hunter2"\n')
    with pytest.raises(BadSettings) as error:
        read_file(settings)
    assert "line 2" in error.value.message
    assert "hunter2" not in str(error.value)


def test_problems_are_told_together_with_the_line_they_stand_on(settings: Settings) -> None:
    settings.settings_file.write_text("[agent]\nseats = 65\n[tts]\ngain = 9\n")
    values = read_file(settings).values
    found = problems(values, settings.settings_file)
    assert set(found) == {"agent.seats", "tts.gain"}
    assert "line 2" in found["agent.seats"].message
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert str(error.value) == str(found["agent.seats"])


def test_a_full_disk_leaves_the_old_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ApplianceError, match="cannot be written"):
        save(settings, {"agent.seats": 3}, read_file(settings).version)
    monkeypatch.undo()
    assert settings.settings_file.read_text() == OWNERS
    assert [
        path.name for path in settings.data_dir.iterdir() if "settings.toml." in path.name
    ] == []


def test_what_a_start_with_these_values_would_see(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_FRONT__HTTP_PORT", "9999")
    running = load_settings()
    seen = settings_file.effective(running, {"agent.seats": 9, "front.http_port": 1})
    assert (seen.agent.seats, seen.front.http_port, seen.log_level) == (9, 9999, "info")
    assert seen.data_dir == running.data_dir


def test_of_two_who_save_at_once_one_is_told(settings: Settings) -> None:
    version = read_file(settings).version
    at_once = threading.Barrier(2)

    def try_save(seats: int) -> bool:
        at_once.wait()
        try:
            save(settings, {"agent.seats": seats}, version)
        except ChangedMeanwhile:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        saved = list(pool.map(try_save, (3, 4)))
    assert sorted(saved) == [False, True]
    assert read_file(settings).values["agent.seats"] == (3, 4)[saved.index(True)]


def test_a_context_that_a_switch_has_tried_is_kept(settings: Settings) -> None:
    version = read_file(settings).version
    kept = save(settings, {"llm.context_tokens": 2048}, version, tried=True)
    assert kept.values["llm.context_tokens"] == 2048
    assert "context_tokens = 2048" in settings.settings_file.read_text()
