"""Under which addresses the box is reached, and which one goes into links."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from appliance.addresses import (
    has_server_before,
    host_names,
    lan_address,
    lan_names,
    lan_url,
    public_url,
)
from appliance.settings import Settings

pytestmark = pytest.mark.unit


def box(folder: Path, **given: Any) -> Settings:
    return Settings(
        data_dir=folder,
        front={"lan": True, **given.pop("front", {})},
        livekit={"node_ip": given.pop("node_ip", "192.168.1.20")},
        **given,
    )


def test_a_closed_door_has_no_address(tmp_path: Path) -> None:
    closed = Settings(data_dir=tmp_path, livekit={"node_ip": "192.168.1.20"})
    assert lan_url(closed) == ""
    assert lan_names(closed) == []
    assert public_url(closed) == "http://localhost:8080"
    assert lan_address(closed) == "192.168.1.20"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://192.168.1.20:8443"),
        ({"front": {"https_port": 443}}, "https://192.168.1.20"),
        ({"node_ip": "fd00::7"}, "https://[fd00::7]:8443"),
        ({"front": {"names": ["Ear.lan"]}}, "https://192.168.1.20:8443"),
        (
            {"front": {"names": ["Ear.lan"], "certificate": "/c.pem", "certificate_key": "/k.pem"}},
            "https://ear.lan:8443",
        ),
        ({"node_ip": "127.0.0.1"}, ""),
    ],
)
def test_the_networks_address(tmp_path: Path, given: dict[str, Any], url: str) -> None:
    assert lan_url(box(tmp_path, **given)) == url


def test_links_name_the_owners_address_before_the_networks(tmp_path: Path) -> None:
    assert public_url(box(tmp_path)) == "https://192.168.1.20:8443"
    said = box(tmp_path, public_url="https://ear.example")
    assert public_url(said) == "https://ear.example"


@pytest.mark.parametrize(
    ("url", "before"),
    [
        ("", False),
        ("https://ear.lan:8443", False),
        ("https://EAR.lan:8443", False),
        ("https://ear.lan", True),
        ("http://ear.lan:8443", True),
        ("https://other.lan:8443", True),
    ],
)
def test_an_address_of_the_boxs_own_is_no_server_before_it(
    tmp_path: Path, url: str, before: bool
) -> None:
    given = box(tmp_path, public_url=url, front={"names": ["ear.lan"]})
    assert has_server_before(given) is before
    closed = given.front.model_copy(update={"lan": False})
    assert has_server_before(given.model_copy(update={"front": closed})) is bool(url)


def test_the_door_goes_by_every_name_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")
    names = lan_names(box(tmp_path, front={"names": ["Ear.lan", "box"]}))
    assert names == [
        "192.168.1.20", "box.local", "ear.lan", "box", "localhost", "127.0.0.1", "::1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("box", ["box.local"]),
        ("Box.Clinic.Example", ["box.clinic.example", "box.local"]),
        ("box.local", ["box.local"]),
        ("dev", ["dev.local"]),
        ("localhost", []),
        ("localhost.localdomain", []),
        ("0f3b8c2d9e1a", []),
        ("my_box", []),
        ("", []),
    ],
)
def test_the_machines_own_name(
    monkeypatch: pytest.MonkeyPatch, given: str, names: list[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: given)
    assert host_names() == names
