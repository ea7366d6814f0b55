"""The compose files, as Docker's own program reads them: what is shipped is private by them, too."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import __version__
from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.services

COMPOSE = PROJECT_DIR / ".cache" / "bin" / "docker-compose"
GPU, CPU, BRIDGE = "docker-compose.yml", "docker-compose.cpu.yml", "docker-compose.bridge.yml"
ADDRESS = {"APPLIANCE_LIVEKIT__NODE_IP": "192.168.7.20"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files alone, as in a bundle; their owner has no .env."""
    for name in (GPU, CPU, BRIDGE):
        shutil.copy(PROJECT_DIR / name, tmp_path)
    return tmp_path


def compose(folder: Path, *files: str, **variables: str) -> subprocess.CompletedProcess[str]:
    named = [part for name in files for part in ("-f", name)]
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("APPLIANCE_", "COMPOSE_", "EARSHOT_"))
    }  # fmt: skip
    return subprocess.run(
        [COMPOSE, *named, "config", "--format", "json"], cwd=folder, env={**kept, **variables},
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def read(folder: Path, *files: str, **variables: str) -> dict[str, Any]:
    """The whole configuration that results."""
    done = compose(folder, *files, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("files", [(GPU,), (GPU, CPU), (GPU, BRIDGE), (GPU, CPU, BRIDGE)])
def test_every_way_of_starting_it_keeps_it_locked_in(folder: Path, files: tuple[str, ...]) -> None:
    box = read(folder, *files, **ADDRESS)["services"]["earshot"]
    assert box["user"] == "10001:10001"
    assert box["read_only"] is True
    assert box["cap_drop"] == ["ALL"]
    assert box["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "cap_add", "devices", "pid", "ipc"}.isdisjoint(box)
    # No size at all: Compose leaves a zero out.
    assert box["ulimits"]["core"] == {}
    assert [mount["type"] for mount in box["volumes"]] == ["volume", "volume"]
    assert all("docker.sock" not in str(mount) for mount in box["volumes"])
    # The longest default goodbye is 15 s; 45 s is what a stop may take.
    assert box["stop_grace_period"] == "1m0s"
    assert box["restart"] == "unless-stopped"
    assert box["logging"]["options"]["max-size"]


def test_the_gpu_is_asked_for_where_there_is_one(folder: Path) -> None:
    (device,) = read(folder, GPU)["services"]["earshot"]["deploy"]["resources"]["reservations"]["devices"]  # fmt: skip
    assert (device["driver"], device["capabilities"], device["count"]) == ("nvidia", ["gpu"], 1)
    box = read(folder, GPU, CPU)["services"]["earshot"]
    assert "deploy" not in box
    assert box["build"]["args"]["ACCEL"] == "cpu"


def test_the_images_are_of_this_version_or_the_ones_that_are_named(folder: Path) -> None:
    def image(*files: str, **variables: str) -> str:
        return str(read(folder, *files, **variables)["services"]["earshot"]["image"])

    assert image(GPU) == f"earshot:{__version__}"
    assert image(GPU, CPU) == f"earshot:{__version__}-cpu"
    assert image(GPU, CPU, EARSHOT_IMAGE="earshot:old") == "earshot:old"


def test_the_machines_own_network_unless_it_is_asked_otherwise(folder: Path) -> None:
    assert read(folder, GPU)["services"]["earshot"]["network_mode"] == "host"
    box = read(folder, GPU, BRIDGE, APPLIANCE_LIVEKIT__UDP_PORT="7999", **ADDRESS)["services"]["earshot"]  # fmt: skip
    assert "network_mode" not in box
    # LiveKit's own port 7880 and the agent's are nobody's outside.
    assert {(port["target"], port["protocol"]) for port in box["ports"]} == {
        (8080, "tcp"), (8443, "tcp"), (7881, "tcp"), (7999, "udp"),
    }  # fmt: skip
    # Docker would also listen on IPv6, which a router may hand on from outside.
    assert {port["host_ip"] for port in box["ports"]} == {"0.0.0.0"}  # noqa: S104
    assert box["environment"]["APPLIANCE_LIVEKIT__NODE_IP"] == "192.168.7.20"
    done = compose(folder, GPU, BRIDGE)
    assert done.returncode != 0
    assert "Set APPLIANCE_LIVEKIT__NODE_IP" in done.stderr


def test_dockers_own_network_is_chosen_once_for_every_command(folder: Path) -> None:
    told = (PROJECT_DIR / "docs" / "install.md").read_text().partition("On Docker's own network")[2]
    files = re.findall(r"^    (COMPOSE_FILE=\S+)$", told, re.MULTILINE)
    assert len(files) == 2
    for line in files:
        (folder / ".env").write_text(f"{line}\nAPPLIANCE_LIVEKIT__NODE_IP=192.168.1.20\n")
        box = read(folder)["services"]["earshot"]
        assert "network_mode" not in box
        assert len(box["ports"]) == 4
        assert ("deploy" in box) is (CPU not in line)


def test_the_owners_settings_reach_the_container_but_not_its_folders(folder: Path) -> None:
    (folder / ".env").write_text("APPLIANCE_PERSONA=ann\nAPPLIANCE_DATA_DIR=./data\n")
    box = read(folder, GPU)["services"]["earshot"]
    assert box["environment"]["APPLIANCE_PERSONA"] == "ann"
    assert box["environment"]["APPLIANCE_DATA_DIR"] == "/data"


def test_two_boxes_on_one_machine_share_no_volume(folder: Path) -> None:
    def volumes(**variables: str) -> set[str]:
        return {one["name"] for one in read(folder, GPU, **variables)["volumes"].values()}

    assert volumes() == {"earshot-data", "earshot-models"}
    assert volumes(COMPOSE_PROJECT_NAME="second") == {"second-data", "second-models"}


def test_a_misspelt_key_is_refused(folder: Path) -> None:
    text = (folder / GPU).read_text()
    assert "read_only:" in text
    (folder / GPU).write_text(text.replace("read_only:", "readonly:"))
    done = compose(folder, GPU)
    assert done.returncode != 0
    assert "readonly" in done.stderr


def test_the_files_say_what_they_are_for() -> None:
    for name in (GPU, CPU, BRIDGE):
        text = (PROJECT_DIR / name).read_text()
        assert text.startswith("# ")
        # Compose's own tags are not plain YAML's.
        assert yaml.safe_load(text.replace("!reset null", "null"))
