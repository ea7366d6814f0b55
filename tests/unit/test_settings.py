"""One road for settings: defaults, file, environment; a mistake is named with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import BadSettings
from appliance.settings import (
    PROJECT_DIR,
    load_settings,
    seal_environment,
    sealed_environment,
    unsealed_environment,
)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("APPLIANCE_", "LIVEKIT_", "WHISPER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))


def _write(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)


def test_the_file_is_over_the_default_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().stt.model == "whisper-base"
    _write(tmp_path, '[stt]\nmodel = "from-file"\nthreads = 3\n')
    assert load_settings().stt.model == "from-file"
    monkeypatch.setenv("APPLIANCE_STT__MODEL", "from-environment")
    settings = load_settings()
    assert (settings.stt.model, settings.stt.threads) == ("from-environment", 3)


def test_names_of_the_ecosystem_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_MODEL", "whisper-tiny.en")
    monkeypatch.setenv("LIVEKIT_TOKEN_TTL", "600")
    settings = load_settings()
    assert (settings.stt.model, settings.livekit.token_ttl_s) == ("whisper-tiny.en", 600)
    monkeypatch.setenv("APPLIANCE_STT__MODEL", "own-name-wins")
    assert load_settings().stt.model == "own-name-wins"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[stt]\nmodel = "a"\nmodll = "b"\n', ("'stt.modll'", "line 3", "'stt.model'")),
        ("# one\n[stt]\nthreads = -3\n", ("'stt.threads'", "line 3", "-3")),
        ('[sst]\nmodel = "a"\n', ("'sst'", "line 1", "'stt'")),
        ("x = [", ("not valid TOML", "settings.toml")),
        (f"x = {'9' * 5000}", ("far too long", "settings.toml")),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(
    tmp_path: Path, text: str, told: tuple[str, ...]
) -> None:
    _write(tmp_path, text)
    with pytest.raises(BadSettings) as error:
        load_settings()
    for part in told:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("APPLIANCE_STT__MODLE", "x", "APPLIANCE_STT__MODEL"),
        ("APPLIANCE_STT__THREADS", "many", "environment variable APPLIANCE_STT__THREADS"),
        ("LIVEKIT_TOKEN_TTL", "1", "environment variable LIVEKIT_TOKEN_TTL"),
        ("appliance_front__http_prt", "1", r"http_prt \(environment\).*APPLIANCE_FRONT__HTTP_PORT"),
        ("appliance_front__http_port", "x", "environment variable appliance_front__http_port"),
        # Empty or not, it is a name that does nothing.
        ("APPLIANCE_STT__MODLE", "", "APPLIANCE_STT__MODEL"),
    ],
)
def test_a_mistake_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=told):
        load_settings()


@pytest.mark.parametrize("name", ["APPLIANCE_MODELS_DIR", "WHISPER_CACHE_DIR"])
def test_an_empty_variable_is_an_unset_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    monkeypatch.setenv("APPLIANCE_STT__THREADS", "")
    _write(tmp_path, "[stt]\nthreads = 3\n")
    settings = load_settings()
    assert settings.models_path == tmp_path / "models"
    assert settings.stt.threads == 3


def test_an_empty_variable_leaves_its_alias_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_STT__MODEL", "")
    monkeypatch.setenv("WHISPER_MODEL", "whisper-tiny.en")
    assert load_settings().stt.model == "whisper-tiny.en"


def test_the_data_folder_may_be_named_in_small_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APPLIANCE_DATA_DIR")
    monkeypatch.setenv("appliance_data_dir", str(tmp_path / "else"))
    assert load_settings().data_dir == tmp_path / "else"


def test_a_secret_is_not_repeated_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_LIVEKIT__API_SECRET", "[1, 2]")
    monkeypatch.setenv("APPLIANCE_LIVEKIT", '{"api_secret": ["hunter2"]}')
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert "hunter2" not in str(error.value)


def test_the_file_is_read_from_where_the_environment_says(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir == tmp_path
    assert settings.store_url == f"sqlite:///{tmp_path}/appliance.db"
    assert settings.builtin_models_dir == PROJECT_DIR / ".cache" / "models"


def test_a_long_path_gets_a_short_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / ("long" * 30)))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    first = load_settings()
    assert str(first.run_dir).startswith("/run/user/7/earshot-")
    assert len(os.fsencode(first.socket("supervisor"))) < 100
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / ("else" * 30)))
    assert load_settings().run_dir != first.run_dir


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe"])
def test_a_settings_file_that_is_none_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "settings.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "gone.toml")
    with pytest.raises(BadSettings, match=r"settings\.toml cannot be read\."):
        load_settings()


def test_the_seal_takes_away_what_reaches_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEKIT_DEV_MODE", "HTTPS_PROXY", "OPENAI_API_KEY", "LIVEKIT_REMOTE_EOT_URL"):
        monkeypatch.setenv(name, "x")
    child = sealed_environment()
    assert child["ORT_DISABLE_TELEMETRY"] == "1"
    assert child["HF_HUB_OFFLINE"] == "1"
    assert child["OPENBLAS_NUM_THREADS"] == "1"
    assert not {"LIVEKIT_DEV_MODE", "HTTPS_PROXY", "OPENAI_API_KEY"} & child.keys()
    monkeypatch.setattr("appliance.settings._before_seal", {})
    monkeypatch.setattr(os, "environ", dict(os.environ))
    seal_environment()
    assert "HTTPS_PROXY" not in os.environ
    # The one child that fetches a model goes the owner's way, proxy included.
    puller = unsealed_environment()
    assert puller["HTTPS_PROXY"] == "x"
    assert "HF_HUB_OFFLINE" not in puller
    assert "LD_PRELOAD" not in puller
