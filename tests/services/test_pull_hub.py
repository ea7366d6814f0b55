"""Models from the hub, played by a server on loopback: resumed, checked, locked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import appliance.settings
from appliance.catalogue import Catalogue
from appliance.catalogue.digests import verify_model
from appliance.catalogue.lock import read_lock
from appliance.catalogue.pulling import pull_model
from appliance.errors import ApplianceError
from appliance.settings import unsealed_environment
from tests import catalogues as make

pytestmark = pytest.mark.services

REPO, REVISION = "someone/voices", "c" * 40
WEIGHTS = bytes(range(256)) * 8192  # 2 MiB
CONFIG = b'{"audio": {}}'
HALF = len(WEIGHTS) // 2


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's


class Hub(ThreadingHTTPServer):
    """Answers the three questions that a pull asks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files = {"v/voice.onnx": WEIGHTS, "v/voice.onnx.json": CONFIG}
        self.sent = dict(self.files)
        self.stated = {"v/voice.onnx": make.sha256(WEIGHTS)}
        self.gated = False
        self.cut: set[int] = set()
        self.stalls = False
        self.go_on = threading.Event()
        self.ranges: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            self.reply({"id": REPO, "sha": REVISION})
            return
        path = self.path.removeprefix(f"/{REPO}/resolve/{REVISION}/")
        content = self.server.sent[path]
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.server.ranges.append((path, start))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if path.endswith(".onnx") and start < HALF:
            self.wfile.write(content[start:HALF])
            if self.server.stalls:
                self.server.go_on.wait(30)
                return
            if start in self.server.cut:
                return
            start = HALF
        self.wfile.write(content[start:])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == f"/api/models/{REPO}/paths-info/{REVISION}"
        if self.server.gated:
            self.reply({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
            return
        rows: list[dict[str, Any]] = []
        for path, content in self.server.files.items():
            row = {"type": "file", "path": path, "size": len(content), "oid": git_blob(content)}
            if path in self.server.stated:
                row["lfs"] = {
                    "oid": self.server.stated[path],
                    "size": len(content),
                    "pointerSize": 1,
                }
            rows.append(row)
        self.reply(rows)

    def reply(
        self, value: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(appliance.settings, "_before_seal", {})
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return entry(tmp_path)


def entry(folder: Path, revision: str | None = REVISION, **digest: str) -> Path:
    files = [
        {"name": "voice.onnx", "role": "model", "path": "v/voice.onnx", **digest},
        {"name": "voice.onnx.json", "role": "config", "path": "v/voice.onnx.json"},
    ]
    source = {"kind": "hub", "repo": REPO} | ({"revision": revision} if revision else {})
    return make.catalogue(folder / "models.yaml", make.model("voice", source=source, files=files))


def refused(file: Path, folder: Path) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        list(pull_model("voice", folder, file))
    assert not (folder / "voice").exists()
    assert not read_lock(folder).models
    assert not list((folder / ".pull").rglob("*.onnx*.part"))
    return caught.value


@pytest.mark.parametrize("revision", [REVISION, None])
def test_what_is_pinned_at_download_is_locked_and_verified_against_the_lock(
    hub: Hub, tmp_path: Path, revision: str | None
) -> None:
    settings = make.settings(tmp_path)
    file = entry(tmp_path, revision)
    assert [row.digest for row in Catalogue(settings, file).list()] == ["pinned at download"]
    list(pull_model("voice", settings.models_path, file))
    locked = read_lock(settings.models_path).models["voice"]
    assert locked.revision == REVISION
    assert locked.files["voice.onnx"].sha256 == make.sha256(WEIGHTS)
    assert [row.digest for row in Catalogue(settings, file).list()] == ["locked"]
    model = Catalogue(settings, file).installed("tts", "voice")
    assert verify_model(model).ok
    (model.folder / "voice.onnx.json").write_bytes(b"{}")
    assert not verify_model(model).ok


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_pull_that_is_ended_goes_on_where_it_stopped(
    hub: Hub, file: Path, tmp_path: Path, how: signal.Signals
) -> None:
    hub.stalls = True
    folder = tmp_path / "models"
    command = [
        sys.executable, "-m", "appliance.catalogue.pull", "voice", "--into", str(folder), "--catalogue", str(file),
    ]  # fmt: skip
    child = subprocess.Popen(
        command, env=unsealed_environment(), cwd=appliance.settings.PROJECT_DIR,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout
    assert child.stderr
    for line in child.stdout:
        if json.loads(line)["done"] >= HALF:
            break
    child.send_signal(how)
    said = child.stderr.read()
    assert child.wait(30) == (130 if how != signal.SIGKILL else -signal.SIGKILL)
    assert "Traceback" not in said
    child.stdout.close()
    child.stderr.close()
    assert not (folder / "voice").exists()
    hub.stalls = False
    events = list(pull_model("voice", folder, file))
    assert events[-1].kind == "done"
    assert [start for path, start in hub.ranges if path.endswith(".onnx")] == [0, HALF]
    assert (folder / "voice" / "voice.onnx").read_bytes() == WEIGHTS


def test_giving_up_ends_the_child(hub: Hub, file: Path, tmp_path: Path) -> None:
    hub.stalls = True
    folder = tmp_path / "models"
    events = pull_model("voice", folder, file)
    while next(events).done < HALF:
        pass
    events.close()  # type: ignore[attr-defined]
    with (folder / ".pull" / "voice.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not (folder / "voice").exists()


def test_a_ready_file_that_a_power_cut_shortened_is_fetched_again(
    hub: Hub, file: Path, tmp_path: Path
) -> None:
    make.put(tmp_path / "models" / ".pull" / "voice" / "ready", {"voice.onnx": WEIGHTS[:-1] + b"x"})
    list(pull_model("voice", tmp_path / "models", file))
    assert (tmp_path / "models" / "voice" / "voice.onnx").read_bytes() == WEIGHTS


def test_a_broken_line_is_taken_up_again(hub: Hub, file: Path, tmp_path: Path) -> None:
    hub.cut = {0}
    list(pull_model("voice", tmp_path / "models", file))
    assert [start for path, start in hub.ranges if path.endswith(".onnx")] == [0, HALF]
    assert (tmp_path / "models" / "voice" / "voice.onnx").read_bytes() == WEIGHTS


def test_other_bytes_than_the_hub_states_are_deleted(hub: Hub, file: Path, tmp_path: Path) -> None:
    hub.sent["v/voice.onnx"] = WEIGHTS[::-1]
    assert refused(file, tmp_path / "models").code == "wrong_digest"


def test_a_small_file_is_checked_by_its_git_name(hub: Hub, file: Path, tmp_path: Path) -> None:
    hub.sent["v/voice.onnx.json"] = CONFIG[::-1]
    assert refused(file, tmp_path / "models").code == "wrong_digest"


def test_the_catalogue_s_digest_is_believed_before_the_hub_s(hub: Hub, tmp_path: Path) -> None:
    file = entry(tmp_path, sha256="0" * 64)
    assert refused(file, tmp_path / "models").code == "wrong_digest"


def test_a_closed_repository_says_what_to_do(hub: Hub, file: Path, tmp_path: Path) -> None:
    hub.gated = True
    error = refused(file, tmp_path / "models")
    assert error.code == "hub_gated"
    assert "licence" in error.message


def test_no_network_is_one_sentence(
    hub: Hub, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Any
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    error = refused(file, tmp_path / "models")
    assert error.code == "hub_unreachable"
    assert error.can_retry
