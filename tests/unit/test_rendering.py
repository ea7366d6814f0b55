"""The rendered configuration: real addresses, private files, nothing public."""

from __future__ import annotations

import configparser
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from appliance import addresses, rendering
from appliance.addresses import find_node_ip
from appliance.rendering import caddyfile, livekit_yaml, programs, render
from appliance.settings import Settings

pytestmark = pytest.mark.unit

Interface = tuple[str, bool]  # IPv4 address, whether it is up


def _settings(folder: Path, **given: Any) -> Settings:
    settings = Settings(data_dir=folder, **given)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    return settings


def _interfaces(
    monkeypatch: pytest.MonkeyPatch, interfaces: dict[str, Interface], *, route: str = ""
) -> None:
    """Pretend that the machine has these."""

    class Stats:
        def __init__(self, isup: bool) -> None:
            self.isup = isup

    class Address:
        family = socket.AF_INET

        def __init__(self, address: str) -> None:
            self.address = address

    monkeypatch.setattr(
        psutil, "net_if_stats", lambda: {name: Stats(up) for name, (_, up) in interfaces.items()}
    )
    monkeypatch.setattr(
        psutil, "net_if_addrs", lambda: {n: [Address(ip)] for n, (ip, _) in interfaces.items()}
    )
    monkeypatch.setattr(addresses, "_default_route_interface", lambda: route)


def test_livekit_hands_out_nothing_public_and_makes_no_rooms_by_itself(tmp_path: Path) -> None:
    settings = _settings(
        tmp_path, livekit={"port": 17880, "udp_port": 17882, "node_ip": "10.1.2.3"}
    )
    document = yaml.safe_load(livekit_yaml(settings))
    assert document["rtc"]["node_ip"] == "10.1.2.3"
    assert document["rtc"]["udp_port"] == 17882
    assert document["rtc"]["use_external_ip"] is False
    assert document["rtc"]["stun_servers"] == ["127.0.0.1:17882"]
    assert document["room"]["auto_create"] is False
    assert document["bind_addresses"] == ["127.0.0.1"]
    (key,) = document["keys"]
    assert document["webhook"]["api_key"] == key
    assert len(document["keys"][key]) >= 32


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    render(settings)
    for name in ("livekit.yaml", "front.caddyfile", "supervisord.conf"):
        assert (settings.run_dir / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["plain", "with space", "per%cent", "quo'te"])
def test_supervisord_reads_any_folder_name(tmp_path: Path, name: str) -> None:
    settings = _settings(tmp_path / name)
    text = rendering.supervisord_conf(settings, programs(settings))
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(text)
    shown = parser["supervisord"]["logfile"].replace("%%", "%")
    assert shown == str(settings.data_dir / "logs" / "supervisord.log")
    assert (
        parser["group:earshot"]["programs"] == "livekit,stt,llm,tts,agent,panel,front,front-spare"
    )
    for program in programs(settings):
        section = parser[f"program:{program.name}"]
        assert int(section["startsecs"]) >= 5
        assert section["stopasgroup"] == "false"
        assert section["killasgroup"] == "true"


def test_a_service_that_lives_elsewhere_is_not_run(tmp_path: Path) -> None:
    settings = _settings(tmp_path, llm={"url": "http://10.0.0.5:8000"})
    assert "llm" not in [program.name for program in programs(settings)]


def test_the_front_door_listens_on_loopback_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, front={"http_port": 18080})
    monkeypatch.setattr(rendering, "has_ipv6_loopback", lambda: False)
    assert 'bind 127.0.0.1 "unix/' in caddyfile(settings, "front")
    monkeypatch.setattr(rendering, "has_ipv6_loopback", lambda: True)
    assert 'bind 127.0.0.1 ::1 "unix/' in caddyfile(settings, "front")


def test_only_where_a_server_stands_before_it_is_the_front_door_told_who_asks(
    tmp_path: Path,
) -> None:
    assert "trusted_proxies" not in caddyfile(_settings(tmp_path), "front")
    settings = _settings(tmp_path, public_url="https://box.example")
    for name in rendering.FRONTS:
        text = caddyfile(settings, name)
        assert "trusted_proxies static 127.0.0.0/8 ::1\n" in text
        assert "trusted_proxies_strict\n" in text


@pytest.mark.parametrize(
    ("interfaces", "route", "expected"),
    [
        ({"lo": ("127.0.0.1", True)}, "", "127.0.0.1"),
        ({"lo": ("127.0.0.1", True), "veth9": ("10.99.0.1", True)}, "", "10.99.0.1"),
        ({"eth0": ("10.0.0.2", False), "wlan0": ("10.0.0.3", True)}, "", "10.0.0.3"),
        ({"docker0": ("172.17.0.1", True), "eth0": ("10.0.0.2", True)}, "", "10.0.0.2"),
        ({"docker0": ("172.17.0.1", True)}, "", "172.17.0.1"),
        ({"eth0": ("10.0.0.2", True), "eth1": ("10.0.1.2", True)}, "eth1", "10.0.1.2"),
    ],
)
def test_the_address_for_callers(
    monkeypatch: pytest.MonkeyPatch, interfaces: dict[str, Interface], route: str, expected: str
) -> None:
    _interfaces(monkeypatch, interfaces, route=route)
    assert find_node_ip() == expected
