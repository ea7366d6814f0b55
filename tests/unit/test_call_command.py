"""`appliance call` tells what it has, however the call ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import certifi
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from appliance.audio import Pcm, write_wav
from appliance.calling import TurnReport
from appliance.cli import call
from appliance.errors import BadInput, NotReady, TimedOut
from appliance.headset import Clip, Ear
from appliance.running import keep_start
from appliance.settings import Settings
from tests.fakes import member_of

pytestmark = pytest.mark.unit


class FakeCaller:
    """A call that ends after its first question."""

    greets = True
    front = ""
    token = ""
    ca: Path | None = None
    session_id = "s1"
    joined_at = 0.0

    def __init__(
        self, front: str, _persona: str | None, *, token: str, ca: Path | None = None
    ) -> None:
        type(self).front, type(self).token, type(self).ca = front, token, ca
        self.ear = Ear()
        self.asked = 0

    async def join(self) -> None:
        return

    async def greeting(self) -> float | None:
        if not self.greets:
            raise TimedOut("no_greeting", "The agent did not greet.")
        return None

    async def ask(self, clip: Clip) -> TurnReport:
        self.asked += 1
        if self.asked > 1:
            raise NotReady("box_unreachable", "The box does not answer.")
        ms = TurnReport("x").ms | {"at_ear": 900}
        return TurnReport(clip.name, "heard", "answered", turns_in_file=1, ms=ms)

    async def end(self) -> str:
        return "completed"

    async def leave(self) -> None:
        return


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32) * 0.3
    write_wav(path, Pcm(tone, 16000))
    return path


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> tuple[int, str]:
    monkeypatch.setattr("appliance.calling.Caller", FakeCaller)
    app = typer.Typer()
    call.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["call", "--json", *map(str, arguments)])
    if isinstance(result.exception, BadInput):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_call_that_breaks_off_keeps_its_turns(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reply.wav"
    code, printed = _call(monkeypatch, recording, recording, recording, "--out", out)
    report = json.loads(printed)
    assert (code, report["state"]) == (1, "failed")
    assert [turn["answered"] for turn in report["turns"]] == ["answered", "", ""]
    assert out.exists()


def test_a_call_without_an_agent_is_reported(
    monkeypatch: pytest.MonkeyPatch, recording: Path
) -> None:
    monkeypatch.setattr(FakeCaller, "greets", False)
    code, printed = _call(monkeypatch, recording)
    assert (code, json.loads(printed)["state"]) == (1, "timed_out")


def test_the_running_box_is_called_whatever_the_settings_have_become(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("APPLIANCE_FRONT__HTTP_PORT", "9292")
    (tmp_path / "run").mkdir()
    with member_of(tmp_path / "run") as supervisor_pid:
        keep_start(Settings(data_dir=tmp_path, front={"http_port": 9191}), supervisor_pid)
        _call(monkeypatch, recording)
    assert FakeCaller.front == "http://127.0.0.1:9191"


def test_an_answer_to_each_is_success(monkeypatch: pytest.MonkeyPatch, recording: Path) -> None:
    code, printed = _call(monkeypatch, recording)
    assert (code, json.loads(printed)["state"]) == (0, "completed")


def test_a_box_elsewhere_is_called_with_its_key(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "before")
    (tmp_path / "key").write_text("earshot_1_key\n")
    certificate = Path(certifi.where())
    code, _ = _call(
        monkeypatch, recording, "--url", "https://192.168.7.20:8443/",
        "--api-key-file", tmp_path / "key", "--ca", certificate,
    )  # fmt: skip
    assert code == 0
    assert (FakeCaller.front, FakeCaller.token) == ("https://192.168.7.20:8443", "earshot_1_key")
    assert FakeCaller.ca == certificate
    assert os.environ["SSL_CERT_FILE"] == str(certificate)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--url", "https://box:8443"), "url_without_key"),
        (("--url", "box:8443", "--api-key-file", "key"), "url_without_key"),
        (("--url", "https://box:8443", "--api-key-file", "none"), "key_unreadable"),
        (("--url", "https://box:8443", "--api-key-file", "key", "--ca", "key"), "ca_unreadable"),
        (("--api-key-file", "key"), "no_url"),
        (("--ca", "key"), "no_url"),
    ],
)
def test_what_is_missing_for_a_box_elsewhere_is_said(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path,
    arguments: tuple[str, ...], code: str,
) -> None:  # fmt: skip
    (tmp_path / "key").write_text("earshot_1_key\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as raised:
        _call(monkeypatch, recording, *arguments)
    assert raised.value.code == code
    assert raised.value.hint
