"""What devices are offered before they trust the box: the page of plain http, and the files."""

from __future__ import annotations

import hashlib
import json
import plistlib
import re
import ssl
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from appliance import explaining
from appliance.cli import address as command
from appliance.errors import BadSettings, NotReady
from appliance.explaining import ways
from appliance.settings import PROJECT_DIR, Settings
from appliance.tls.places import root
from appliance.tls.preparing import prepare
from appliance.tls.state import DoorCertificate
from tests.panel_app import running_panel

pytestmark = pytest.mark.unit

ADDRESS = "192.168.7.20"
SOURCE = PROJECT_DIR / "config" / "door"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a box whose door is open and that has been started once."""
    made = Settings(
        data_dir=tmp_path / "data", front={"lan": True}, livekit={"node_ip": ADDRESS}
    )  # fmt: skip
    made.data_dir.mkdir(mode=0o700)
    prepare(made)
    return made


def owners(**changes: Any) -> DoorCertificate:
    """A certificate that the owner has given."""
    known: dict[str, Any] = {
        "own": True, "root_pem": b"", "fingerprint": "AB:CD", "names": ("box.example",),
        "valid_until": datetime.now(UTC) + timedelta(days=200), "root_valid_until": None,
    }  # fmt: skip
    return DoorCertificate(**{**known, **changes})


class Links(HTMLParser):
    """Where a page leads, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_every_link_of_the_page_leads_somewhere(settings: Settings) -> None:
    folder = explaining.write(settings)
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    here = {link.removeprefix("/door/") for link in links.found if link.startswith("/door/")}
    assert here == {path.name for path in folder.iterdir()} - {"index.html"}
    outside = {link for link in links.found if not link.startswith("/door/")}
    assert outside == {f"https://{ADDRESS}:8443/"}
    shown = ways.way_in(settings).certificate
    assert shown is not None
    assert shown.fingerprint in page.replace("<wbr>", "")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_page_has_nothing_of_its_own_inside(settings: Settings) -> None:
    page = (explaining.write(settings) / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/door/door.js">']
    style = (SOURCE / "door.css").read_text(encoding="utf-8")
    assert not re.search(r"//|url\(|@import", style)


def test_all_files_are_the_same_authority(settings: Settings) -> None:
    files = explaining.authority_files(root(settings).certificate.read_bytes())
    der = files["root.der"]
    assert ssl.PEM_cert_to_DER_cert(files["root.crt"].decode("ascii")) == der
    profile = plistlib.loads(files[explaining.MOBILECONFIG])
    (inner,) = profile["PayloadContent"]
    assert inner["PayloadType"] == "com.apple.security.root"
    assert inner["PayloadContent"] == der
    assert profile["PayloadUUID"] != inner["PayloadUUID"]
    found = ways.way_in(settings).certificate
    assert found is not None
    assert hashlib.sha256(der).hexdigest().upper() == found.fingerprint.replace(":", "")


def test_another_box_s_profile_does_not_replace_this_one(
    settings: Settings, tmp_path: Path
) -> None:
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    other.data_dir.mkdir(mode=0o700)
    prepare(other)
    first, second, again = (
        plistlib.loads(explaining.authority_files(root(box).certificate.read_bytes())[
            explaining.MOBILECONFIG
        ])
        for box in (settings, other, settings)
    )  # fmt: skip
    assert first["PayloadIdentifier"] != second["PayloadIdentifier"]
    assert first == again


def test_an_owner_s_certificate_needs_no_authority(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (explaining.write(settings) / "root.crt").is_file()
    monkeypatch.setattr(ways, "door_certificate", lambda _settings: owners())
    folder = explaining.write(settings)
    left = {path.name for path in folder.iterdir()}
    assert left == {"index.html", "door.css", "door.js", "icon.svg"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "secure address" in page
    assert "root.crt" not in page


def test_before_the_first_start_there_is_nothing_to_show(tmp_path: Path) -> None:
    fresh = Settings(data_dir=tmp_path, front={"lan": True}, livekit={"node_ip": ADDRESS})
    with pytest.raises(NotReady, match="no certificate"):
        explaining.write(fresh)
    assert ways.way_in(fresh).closed == "start"
    assert ways.way_in(Settings(data_dir=tmp_path)).closed == "setting"


def test_a_damaged_authority_is_named(settings: Settings) -> None:
    root(settings).certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n")
    with pytest.raises(BadSettings, match="cannot be read"):
        ways.way_in(settings)


@pytest.mark.parametrize(("days", "soon"), [(5, True), (200, False)])
def test_an_owner_s_certificate_that_ends_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, days: int, soon: bool
) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    monkeypatch.setattr(ways, "door_certificate", lambda _settings: owners(valid_until=end))
    assert ways.way_in(settings).ends_soon is soon


def test_the_terminal_shows_address_fingerprint_and_code(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("appliance.settings.load_settings", lambda: settings)
    command.address(as_json=True)
    plain = json.loads(capsys.readouterr().out)
    assert plain["open"] is True
    assert plain["url"] == f"https://{ADDRESS}:8443"
    assert plain["plain_url"] == f"http://{ADDRESS}:8080"
    assert ADDRESS in plain["names"]

    command.address(as_json=False)
    shown = capsys.readouterr().out
    assert plain["url"] in shown
    assert plain["plain_url"] in shown
    assert plain["fingerprint"] == ":".join(re.findall(r"^ +((?:[0-9A-F]{2}:?){16})$", shown, re.M))
    code = command.code_in_text(plain["url"], coloured=False)
    assert code in shown
    assert command.code_in_text(plain["url"] + "/", coloured=False) != code
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert command.code_in_text(plain["url"], coloured=True).startswith("\x1b[40;97m")


def test_the_terminal_says_why_the_door_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("appliance.settings.load_settings", lambda: Settings(data_dir=tmp_path))
    command.address(as_json=False)
    said = capsys.readouterr().out
    assert "http://localhost:8080" in said
    assert "front.lan" in said
    command.address(as_json=True)
    assert json.loads(capsys.readouterr().out)["open"] is False


async def test_the_panel_shows_the_same(settings: Settings) -> None:
    async with running_panel(settings) as panel:
        page = (await panel.http.get("/devices")).text
        found = ways.way_in(settings)
        assert found.certificate is not None
        assert found.url in page
        assert found.plain_url in page
        assert found.certificate.fingerprint in page.replace("<wbr>", "")
        assert "<svg" in page
        for name, kind in explaining.MEDIA_TYPES.items():
            answer = await panel.http.get(f"/devices/{name}")
            assert answer.headers["content-type"] == kind
            assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert (await panel.http.get("/devices/root.key")).status_code == 404


async def test_the_panel_says_what_opens_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_panel(Settings(data_dir=tmp_path / "data")) as panel:
        page = (await panel.http.get("/devices")).text
        assert "front.lan" in page
        assert "<dt>Names" not in page
        assert (await panel.http.get("/devices/root.crt")).status_code == 404

        def damaged(_settings: Settings) -> None:
            raise ValueError

        monkeypatch.setattr(ways, "door_certificate", damaged)
        assert (await panel.http.get("/devices")).status_code == 200


async def test_strangers_see_none_of_it(settings: Settings) -> None:
    async with running_panel(settings) as panel:
        for path in ("/devices", "/devices/root.crt"):
            answer = await panel.http.get(path, headers={"Authorization": "Bearer no"})
            assert answer.status_code in (303, 401), path


async def test_a_changed_address_is_said_until_the_next_start(settings: Settings) -> None:
    explaining.write(settings)
    assert explaining.moved_from(settings) == ""
    livekit = settings.livekit.model_copy(update={"node_ip": "192.168.7.21"})
    moved = settings.model_copy(update={"livekit": livekit})
    assert explaining.moved_from(moved) == ADDRESS
    async with running_panel(moved) as panel:
        for path in ("/", "/parts/home", "/devices"):
            assert f"was {ADDRESS} when" in (await panel.http.get(path)).text, path
    explaining.write(moved)
    assert explaining.moved_from(moved) == ""
    async with running_panel(moved) as panel:
        assert ADDRESS not in (await panel.http.get("/parts/home")).text
