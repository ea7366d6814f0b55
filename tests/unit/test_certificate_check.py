"""The doctor looks at the certificate of the https door."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.checks import certificate
from appliance.checks.finding import Finding
from appliance.settings import Settings
from appliance.tls import authority
from appliance.tls.places import intermediate, storage
from appliance.tls.preparing import prepare
from tests import certificates

pytestmark = pytest.mark.unit

ADDRESS = "192.168.1.20"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The box has processes."""
    monkeypatch.setattr(certificate, "members", lambda _run: [psutil.Process()])


def opened(folder: Path, address: str = ADDRESS, **front: Any) -> Settings:
    return Settings(data_dir=folder, front={"lan": True, **front}, livekit={"node_ip": address})


def handed_out(settings: Settings, ends: int = 90) -> Finding:
    """What is found where Caddy keeps such a leaf."""
    folder = storage(settings) / "certificates" / "local" / ADDRESS
    certificates.write(folder, [ADDRESS], intermediate(settings), ends=timedelta(days=ends))
    return certificate.look(settings)


def test_a_closed_door_needs_none(tmp_path: Path) -> None:
    assert "closed" in certificate.look(Settings(data_dir=tmp_path)).message


def test_before_the_first_start_it_is_made_then(tmp_path: Path) -> None:
    found = certificate.look(opened(tmp_path))
    assert (found.state, "first start" in found.message) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("runs")
def test_an_address_that_changed_while_the_box_runs(tmp_path: Path) -> None:
    prepare(opened(tmp_path))
    assert handed_out(opened(tmp_path)).state == "ok"
    moved = certificate.look(opened(tmp_path, "192.168.1.21"))
    assert (moved.state, "for its address 192.168.1.21" in moved.message) == ("fail", True)
    assert "Restart the box" in moved.hint


@pytest.mark.usefixtures("runs")
def test_a_certificate_that_was_not_renewed(tmp_path: Path) -> None:
    prepare(opened(tmp_path))
    assert handed_out(opened(tmp_path), 31).state == "ok"
    assert handed_out(opened(tmp_path), 19).state == "fail"


def test_an_authority_that_ends_soon_or_begins_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "LASTS", timedelta(days=170))
    prepare(opened(tmp_path / "soon"))
    soon = certificate.look(opened(tmp_path / "soon"))
    assert (soon.state, "authority ends on" in soon.message) == ("warn", True)
    monkeypatch.setattr(authority, "_BACKDATED", timedelta(days=-5))
    prepare(opened(tmp_path / "later"))
    later = certificate.look(opened(tmp_path / "later"))
    assert (later.state, "clock" in later.hint) == ("fail", True)


@pytest.mark.parametrize(
    ("names", "ends", "state"),
    [
        ([ADDRESS], 90, "warn"), ([ADDRESS, "*.local"], 90, "warn"), (["ear.lan"], 90, "ok"),
        (["ear.lan"], 29, "warn"), (["ear.lan"], -1, "fail"),
    ],
)  # fmt: skip
def test_the_owners_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], ends: int, state: str
) -> None:
    pair = certificates.write(
        tmp_path / "own", names, begins=timedelta(days=-2), ends=timedelta(days=ends)
    )
    settings = opened(
        tmp_path, names=["ear.lan"], certificate=pair.certificate, certificate_key=pair.key
    )
    assert certificate.look(settings).state == state


def test_an_owners_certificate_for_every_name_is_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    pair = certificates.write(tmp_path / "own", [ADDRESS, "ear.lan"])
    settings = opened(
        tmp_path, names=["ear.lan"], certificate=pair.certificate, certificate_key=pair.key
    )
    found = certificate.look(settings)
    assert (found.state, "valid until" in found.message) == ("ok", True)
