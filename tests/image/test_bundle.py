"""A bundle made of the real image, installed by a Docker engine in a network without a way out.

The whole engine runs in a network namespace of its own that has loopback and one cable to nowhere: what
it loads, starts and calls can come from the bundle alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ggufs
from tests.image.conftest import ROOT, Docker
from tests.results import note
from tests.waiting import until

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

ADDRESS = "10.77.3.2"
QUESTION = ROOT / "tests" / "data" / "questions" / "france.flac"
PROJECT = "earshot-bundling"
FIRST, BROKEN, NEXT = "earshot:0-first-cpu", "earshot:0-broken-cpu", "earshot:0-next-cpu"
# The database is changed before it ends, as by a migration that does not come up.
_BREAK = (
    "import sqlite3; base = sqlite3.connect('/data/appliance.db'); base.execute('DELETE FROM turns'); "
    "base.execute('UPDATE alembic_version SET version_num = 9999'); base.commit()"
)


@dataclass
class Room:
    """A machine without internet: a namespace, and a Docker engine in it."""

    name: str
    folder: Path

    @property
    def box(self) -> Path:
        return self.folder / "box"

    def run(
        self, *command: str | Path, within_s: float = 1800, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE")}
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", "--", *(str(part) for part in command)],
            env={**kept, "DOCKER_HOST": f"unix://{self.folder}/docker.sock"}, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=within_s, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def appliance(self, *words: str | Path, check: bool = True) -> str:
        return self.run(self.box / "scripts/appliance", *words, check=check).stdout

    def call(self) -> dict[str, object]:
        """A spoken question; the report of the call."""
        until(
            lambda: self.run("docker", "inspect", "--format", "{{.State.Health.Status}}",
                             "earshot-earshot-1").stdout.strip() == "healthy",
            within_s=900, what="a healthy box",
        )  # fmt: skip
        found: dict[str, object] = json.loads(self.appliance("call", QUESTION, "--json"))
        return found

    def turns(self) -> list[str]:
        """What callers said, as the box has kept it."""
        code = (
            "import sqlite3; base = sqlite3.connect('/data/appliance.db'); [print(*row) for row in "
            "base.execute('SELECT * FROM turns ORDER BY session_id, started_at')]"
        )
        return self.run(
            "docker", "exec", "earshot-earshot-1", "/opt/earshot/.venv/bin/python", "-c", code
        ).stdout.splitlines()


@dataclass
class Maker:
    """Where bundles are made."""

    docker: Docker
    folder: Path
    key: Path

    @property
    def signer(self) -> Path:
        return self.key.with_name("key.pub")

    def bundle(self, image: str, name: str, *models: str) -> Path:
        out = self.folder / name
        began = time.monotonic()
        done = subprocess.run(
            [
                str(ROOT / "scripts/appliance"), "bundle", "create", "--image", image,
                "--key", str(self.key), "--out", str(out),
                *(["--models", *models] if models else []),
            ],
            env={
                **os.environ, "EARSHOT_COMPOSE": "1", "COMPOSE_PROJECT_NAME": PROJECT,
                "PATH": f"{self._quick_gzip()}:{os.environ['PATH']}",
            },
            text=True, capture_output=True, check=False, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        took = round(time.monotonic() - began)
        note("bundle create", image=image, megabytes=round(size / 1e6), seconds=took)
        return out

    def _quick_gzip(self) -> Path:
        """A folder with a gzip that packs less: most of the time would go there."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "gzip").write_text(f'#!/bin/sh\nexec {shutil.which("gzip")} -1 "$@"\n')
        (folder / "gzip").chmod(0o755)
        return folder

    def variant(self, image: str, tag: str, *changes: str) -> str:
        """Another image on top of this one."""
        container = self.docker("create", image).stdout.strip()
        options = [part for change in changes for part in ("--change", change)]
        self.docker("commit", *options, container, tag, timeout_s=600)
        self.docker("rm", "--volumes", container)
        return tag


@pytest.fixture(scope="module")
def maker(docker: Docker, cpu_image: str) -> Iterator[Maker]:
    folder = Path(tempfile.mkdtemp(prefix="earshot-made-"))
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True
    )
    model = ggufs.make(folder / "tiny.gguf").read_bytes()
    subprocess.run(
        ["docker", "run", "--rm", "-i", "-v", f"{PROJECT}-models:/models", "--entrypoint", "sh",
         cpu_image, "-c", "cat >/models/tiny.gguf"], input=model, check=True,
    )  # fmt: skip
    # A name of our own: whoever builds meanwhile moves the other one.
    docker("tag", cpu_image, FIRST)
    yield Maker(docker, folder, folder / "key")
    docker("volume", "rm", f"{PROJECT}-models", check=False)
    for tag in (FIRST, BROKEN, NEXT):
        docker("image", "rm", tag, check=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def room(docker: Docker) -> Iterator[Room]:
    """A namespace with a cable to nowhere, and an engine that has never seen an image."""
    name = f"earshot-{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="earshot-room-"))
    for command in (
        f"netns add {name}",
        f"-n {name} link set lo up",
        f"-n {name} link add cable type veth peer name nowhere",
        f"-n {name} link set nowhere up",
        f"-n {name} addr add {ADDRESS}/24 dev cable",
        f"-n {name} link set cable up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    room = Room(name, folder)
    with (folder / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{name}", "--", "dockerd",
             "--data-root", folder / "data", "--exec-root", folder / "exec",
             "--pidfile", folder / "pid", "-H", f"unix://{folder}/docker.sock"],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until(
            lambda: room.run("docker", "info", check=False).returncode == 0, within_s=90,
            what="the engine in the room",
        )  # fmt: skip
        yield room
        if room.box.exists():
            room.run("docker", "compose", "--project-directory", room.box, "-f",
                     room.box / "docker-compose.yml", "down", "--volumes", check=False)  # fmt: skip
    finally:
        engine.terminate()
        engine.wait(60)
        subprocess.run(["ip", "netns", "del", name], check=False)
        # The engine leaves its own namespace's file mounted.
        for line in Path("/proc/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(str(folder)):
                subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bundle(maker: Maker) -> Path:
    return maker.bundle(FIRST, "first", "tiny")


@pytest.fixture(scope="module")
def installed(room: Room, maker: Maker, bundle: Path) -> Room:
    """The box that install.sh put there; what it said is shown if it fails."""
    began = time.monotonic()
    done = room.run(
        "bash", bundle / "install.sh", "--signer", maker.signer, "--into", room.box, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    note("bundle install", seconds=round(time.monotonic() - began))
    return room


def test_a_flipped_byte_in_the_image_is_found_and_nothing_is_loaded(
    room: Room, maker: Maker, bundle: Path
) -> None:
    image = bundle / "image.tar.gz"
    place = image.stat().st_size // 2
    with image.open("r+b") as file:
        file.seek(place)
        right = file.read(1)
        file.seek(place)
        file.write(bytes([right[0] ^ 1]))
    try:
        done = room.run(
            "bash", bundle / "install.sh", "--signer", maker.signer, "--into", room.box, check=False
        )
    finally:
        with image.open("r+b") as file:
            file.seek(place)
            file.write(right)
    assert done.returncode == 1
    assert "image.tar.gz" in done.stderr
    assert room.run("docker", "images", "--quiet").stdout == ""
    assert not room.box.exists()


def test_the_bundle_names_licences_and_holds_sources_and_parts(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    models = {model["id"]: model for model in manifest["models"]}
    assert models["whisper-base"]["licence"] == "MIT"
    assert models["whisper-base"]["vram"] > models["whisper-base"]["size"]
    assert models["tiny"]["files"][0]["name"] == "tiny.gguf"
    parts = json.loads((bundle / "sbom.cdx.json").read_text())
    assert parts["bomFormat"] == "CycloneDX"
    listed = subprocess.run(
        ["tar", "-tzf", bundle / "sources/sources.tar.gz"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    assert "espeak" in listed


def test_the_first_call_is_answered_in_a_network_without_a_way_out(installed: Room) -> None:
    assert "default" not in installed.run("ip", "route").stdout
    report = installed.call()
    assert report["state"] == "completed"
    assert installed.turns()
    models = json.loads(installed.appliance("models", "list", "--json"))["models"]
    assert next(one for one in models if one["id"] == "tiny")["installed"]
    # The owner's proof is there from the first day.
    proofs = installed.run(
        "docker", "exec", "earshot-earshot-1", "sh", "-c", "ls /data/proofs"
    ).stdout.split()
    assert proofs


def test_an_update_with_a_broken_image_rolls_back_with_the_data_intact(
    installed: Room, maker: Maker
) -> None:
    before = installed.turns()
    assert before
    broken = maker.variant(
        FIRST, BROKEN,
        "ENTRYPOINT " + json.dumps(
            ["sh", "-c", f'/opt/earshot/.venv/bin/python -c "{_BREAK}"; exit 70']
        ),
    )  # fmt: skip
    bundle = maker.bundle(broken, "broken")
    began = time.monotonic()
    done = installed.run(installed.box / "scripts/appliance", "update", bundle, check=False)
    note("update rolled back", seconds=round(time.monotonic() - began))
    shutil.rmtree(bundle)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "runs again with the data of before" in done.stdout
    assert installed.turns() == before
    assert installed.call()["state"] == "completed"
    assert len(installed.turns()) > len(before)
    names = installed.run("docker", "exec", "earshot-earshot-1", "ls", "/data").stdout.split()
    assert "before-update.db" not in names


def test_an_update_that_comes_up_keeps_the_data(installed: Room, maker: Maker) -> None:
    before = installed.turns()
    following = maker.variant(FIRST, NEXT, "LABEL next=1")
    bundle = maker.bundle(following, "next")
    installed.appliance("update", bundle)
    assert installed.turns() == before
    running = installed.run(
        "docker", "inspect", "--format", "{{.Config.Image}}", "earshot-earshot-1"
    ).stdout
    assert running.strip() == following
    assert installed.call()["state"] == "completed"
    kept = installed.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert "earshot:before-update" in kept
