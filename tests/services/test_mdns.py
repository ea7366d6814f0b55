"""The box's name on the network: only where the owner wants it, and gone when the box stops."""

from __future__ import annotations

import configparser
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from zeroconf import IPVersion, Zeroconf

from appliance import mdns
from appliance.errors import ApplianceError, Refused
from appliance.rendering import programs, supervisord_conf
from appliance.settings import PROJECT_DIR, Settings, sealed_environment
from tests.waiting import until

pytestmark = pytest.mark.services

# Of this machine, and not the one address that means there is no network: no packet leaves it.
ADDRESS = "127.0.0.2"
# Not the host's: it may have none that can be announced, and another run may announce it, too.
HOST = f"earshot-{os.getpid()}"
CALLED_SO = f"""
import runpy, socket
socket.gethostname = lambda: {HOST!r}
runpy.run_module("appliance.mdns", run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)


def named(folder: Path, address: str = ADDRESS, **front: Any) -> Settings:
    return Settings(
        data_dir=folder, front={"lan": True, "mdns": True, **front}, livekit={"node_ip": address}
    )


def section(settings: Settings) -> dict[str, str]:
    """What supervisord is told of the announcer; nothing where there is none."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(supervisord_conf(settings, programs(settings)))
    assert "mdns" not in parser["group:earshot"]["programs"]
    name = "program:mdns"
    return dict(parser[name]) if parser.has_section(name) else {}


def found(name: str) -> tuple[str | None, list[str], int | None]:
    """What somebody on the same network finds: the host's name, its addresses, the port."""
    asker = Zeroconf(interfaces=[ADDRESS], ip_version=IPVersion.V4Only)
    try:
        service = f"Earshot on {name.removesuffix('.local')}.{mdns.SERVICE}"
        told = asker.get_service_info(mdns.SERVICE, service, 1000)
        return (told.server, told.parsed_addresses(), told.port) if told else (None, [], None)
    finally:
        asker.close()


def test_it_is_not_run_unless_it_is_wanted(tmp_path: Path) -> None:
    assert section(Settings(data_dir=tmp_path)) == {}
    assert section(named(tmp_path, mdns=False)) == {}
    assert section(named(tmp_path, lan=False)) == {}
    wanted = section(named(tmp_path))
    # The seal, which refuses multicast, is for every other program.
    assert wanted["environment"] == 'LD_PRELOAD=""'


def test_the_network_finds_the_box_by_its_name_until_it_stops(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        f'[front]\nlan = true\nmdns = true\n\n[livekit]\nnode_ip = "{ADDRESS}"\n'
    )
    environment = {**sealed_environment(), "LD_PRELOAD": "", "APPLIANCE_DATA_DIR": str(tmp_path)}
    name = mdns.local_name(named(tmp_path))
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", CALLED_SO], cwd=PROJECT_DIR, env=environment,
            stdout=output, stderr=output,
        ) as process,
    ):  # fmt: skip
        try:
            until(lambda: "name_announced" in log.read_text(), 30, "the announcement")
            assert found(name) == (f"{name}.", [ADDRESS], 8443)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert found(name) == (None, [], None)


def test_what_cannot_be_announced_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(ApplianceError, match=r"cannot be announced from 192\.0\.2\.77"),
        mdns.announced(named(tmp_path, "192.0.2.77")),
    ):
        pass
    with pytest.raises(Refused, match="no network"):
        mdns.local_name(named(tmp_path, "127.0.0.1"))
    monkeypatch.setattr(socket, "gethostname", lambda: "0f3b8c2d9e1a")
    with pytest.raises(Refused, match="no name that could be announced"):
        mdns.local_name(named(tmp_path))
