"""Opening the door: the ports it takes, what is said before, and configuration that Caddy would write so."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import preflight
from appliance.errors import BadInput, BadSettings
from appliance.rendering import caddyfile, render
from appliance.settings import Settings
from appliance.tls.preparing import prepare
from services.panel.settings_page import judging
from tests import certificates

pytestmark = pytest.mark.unit


def box(folder: Path, free_port: Callable[[], int], **front: Any) -> Settings:
    made = Settings(
        data_dir=folder,
        front={"http_port": free_port(), "https_port": free_port(), **front},
        livekit={
            "port": free_port(), "tcp_port": free_port(), "udp_port": free_port(),
            "node_ip": "192.168.1.20",
        },
        agent={"health_port": free_port()},
    )  # fmt: skip
    made.run_dir.mkdir(parents=True)
    return made


def test_a_closed_door_takes_no_port(tmp_path: Path, free_port: Callable[[], int]) -> None:
    closed = box(tmp_path / "closed", free_port)
    assert closed.front.https_port not in {port.number for port in preflight.ports(closed)}
    opened = box(tmp_path / "opened", free_port, lan=True)
    everywhere = {
        port.number for port in preflight.ports(opened) if port.address == preflight.ANY_ADDRESS
    }
    assert {opened.front.http_port, opened.front.https_port} < everywhere


def test_a_port_of_the_door_that_is_taken_is_named(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    opened = box(tmp_path, free_port, lan=True)
    preflight.check_ports(opened)
    with socket.create_server(("127.0.0.1", opened.front.https_port)):
        with pytest.raises(BadInput, match=r"\(front\.https_port\) is in use"):
            preflight.check_ports(opened)
        preflight.check_ports(
            opened.model_copy(update={"front": opened.front.model_copy(update={"lan": False})})
        )
    both = opened.front.model_copy(update={"https_port": opened.front.http_port})
    with pytest.raises(BadSettings, match=r"front\.http_port and front\.https_port are both"):
        preflight.check_ports(opened.model_copy(update={"front": both}))


def test_the_page_judges_the_port_of_a_door_that_is_to_be_opened(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    running = box(tmp_path, free_port)
    after = {
        "front.lan": True, "front.https_port": running.front.https_port,
        "front.http_port": running.front.http_port,
    }  # fmt: skip
    assert judging.judge(running, after, ["front.lan"]) == {}
    with socket.create_server(("127.0.0.1", running.front.https_port)):
        found = judging.judge(running, after, ["front.lan"])
    assert {name: error.code for name, error in found.items()} == {
        "front.https_port": "port_in_use"
    }
    (said,) = judging.notes(after, ["front.lan"])
    assert "other machines of the network reach the sign-in page" in said
    (said,) = judging.notes({"front.mdns": True}, ["front.mdns"])
    assert "by multicast" in said


def test_what_is_said_of_certificates_is_said_before_the_start(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    pair = certificates.write(tmp_path / "own", ["elsewhere.example"])
    opened = box(
        tmp_path / "box", free_port, lan=True, certificate=pair.certificate,
        certificate_key=pair.key,
    )  # fmt: skip
    (said,) = preflight._check_door(opened)
    assert "is for elsewhere.example" in said
    assert preflight._check_door(box(tmp_path / "closed", free_port)) == []


@pytest.mark.parametrize("door", ["closed", "open", "own"])
def test_caddy_finds_nothing_to_mend_in_its_file(
    tmp_path: Path, free_port: Callable[[], int], door: str
) -> None:
    pair = certificates.write(tmp_path / "own", ["ear.lan"])
    own = {"certificate": pair.certificate, "certificate_key": pair.key, "names": ["ear.lan"]}
    settings = box(
        tmp_path / "box", free_port, lan=door != "closed", **(own if door == "own" else {})
    )
    path = tmp_path / "caddyfile"
    path.write_text(caddyfile(settings, "front", prepare(settings) if door != "closed" else None))
    told = subprocess.run(
        [str(settings.programs_dir / "caddy"), "fmt", "--diff", str(path)],
        capture_output=True, check=False, timeout=30, text=True,
    )  # fmt: skip
    changed = [line for line in told.stdout.splitlines() if line.startswith(("+", "-"))]
    assert (told.returncode, changed) == (0, []), told.stderr


def test_a_start_makes_what_other_devices_need(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    opened = box(tmp_path / "opened", free_port, lan=True)
    render(opened)
    assert {"index.html", "root.crt", "earshot.mobileconfig"} <= {
        path.name for path in (opened.run_dir / "door").iterdir()
    }
    closed = box(tmp_path / "closed", free_port)
    render(closed)
    assert not (closed.run_dir / "door").exists()
    assert not (closed.data_dir / "tls").exists()
