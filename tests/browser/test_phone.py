"""A phone on the network: it is told how to trust the box, then talks by https, with and without UDP."""

from __future__ import annotations

import hashlib
import json
import plistlib
import secrets
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error

from services.panel.pages.devices import qr_inline
from tests.box import Box
from tests.browser.chromium import Cookies, Device, installed_chromium, spoken, visit
from tests.phone_net import BOX, Cable, Place, cable
from tests.recordings import DATA, error_rate, knows_france

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# Long enough for the greeting: the caller should not talk over it.
_SILENCE_S = 12.0
_GREETING_S = 30.0
_ANSWER_S = 40.0
_HTTPS_PORT = 8443
_JOIN = "/join/a-link"


@dataclass(frozen=True)
class Lane:
    """A box and a phone with a cable between them, and nothing else in reach of either."""

    cable: Cable
    box: Box
    stranger: Device
    """The phone before it trusts the box."""
    friend: Device
    """The phone once it does."""
    shown: dict[str, Any]
    """What ``appliance address`` says on the box."""


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """The box runs in a network namespace of its own, with its door open."""
    folder = tmp_path_factory.mktemp("lane")
    with cable() as laid:
        extra = {"APPLIANCE_FRONT__LAN": "true", "APPLIANCE_AGENT__SEATS": "1"}
        box = Box(folder, extra, laid.box.prefix)
        try:
            box.start()
            shown = json.loads(box.command("address", "--json").stdout)
            chromium = laid.phone.script(folder / "chromium", installed_chromium())
            homes = [folder / name for name in ("stranger", "friend")]
            for home in homes:
                home.mkdir()
            stranger, friend = (Device(chromium, home) for home in homes)
            yield Lane(laid, box, stranger, friend, shown)
        finally:
            box.stop()


@pytest.fixture(scope="module")
def owner(lane: Lane) -> Cookies:
    """The owner's sign-in on the phone, which trusts the box from here on."""
    authority = lane.friend.home / "earshot-root.crt"
    authority.write_bytes(_fetch(lane.cable.phone, f"{lane.shown['plain_url']}/door/root.crt"))
    _trust(lane.friend, authority)
    code = lane.box.set_up_link().partition("code=")[2]
    password = secrets.token_urlsafe(12)
    # The address of plain http: the page goes on by itself, to the same path.
    with visit(
        lane.shown["plain_url"], path=f"/set-up?code={code}", device=lane.friend, width=390
    ) as visited:
        page = visited.page
        visited.until(lambda: page.url.startswith(lane.shown["url"]), 30, "the secure address")
        page.fill("#password", password)
        page.fill("#again", password)
        page.keyboard.press("Enter")
        visited.until(lambda: "Ready" in page.title(), 30, "the first page")
        cookies = page.context.cookies()
    assert [each["name"] for each in cookies if each["httpOnly"] and each["secure"]]
    return [{"name": each["name"], "value": each["value"]} for each in cookies]


def _trust(device: Device, authority: Path) -> None:
    """As the page says for Linux."""
    store = device.home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{store}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True, timeout=30)
    command = [*certutil, "-A", "-t", "C,,", "-n", "Earshot", "-i", str(authority)]
    subprocess.run(command, check=True, timeout=30)


def _fetch(place: Place, url: str) -> bytes:
    """What a program there is given, which asks as any does."""
    asks = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"
    command = [*place.prefix, sys.executable, "-c", asks, url]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


def test_a_phone_that_does_not_trust_the_box_is_told_what_to_do(lane: Lane) -> None:
    shown = lane.shown
    assert shown["open"]
    assert shown["url"] == f"https://{BOX}:{_HTTPS_PORT}"
    with visit(shown["plain_url"], path=_JOIN, device=lane.stranger, width=390) as visited:
        page = visited.page
        assert visited.text("h1") == "One step before you can talk"
        assert visited.text("#fingerprint") == shown["fingerprint"]
        assert page.locator("#onward").get_attribute("href") == shown["url"] + _JOIN
        # It has asked the secure address and was refused by this browser alone.
        visited.until(
            lambda: any("ERR_CERT_AUTHORITY_INVALID" in said for said in visited.told), 30, "a try"
        )
        assert page.url == shown["plain_url"] + _JOIN
        page.locator("summary").first.click()
        visited.look("door")
        systems = page.locator("summary").all_inner_texts()
        assert len(systems) == 6


def test_what_a_device_installs_is_the_box_s_authority(lane: Lane) -> None:
    phone, plain_url = lane.cable.phone, lane.shown["plain_url"]
    pem, der, profile = (
        _fetch(phone, f"{plain_url}/door/{name}")
        for name in ("root.crt", "root.der", "earshot.mobileconfig")
    )
    digest = hashlib.sha256(der).hexdigest().upper()
    assert digest == lane.shown["fingerprint"].replace(":", "")
    assert ssl.PEM_cert_to_DER_cert(pem.decode("ascii")) == der
    assert plistlib.loads(profile)["PayloadContent"][0]["PayloadContent"] == der
    # Neither its key nor anything of the app: every other path is the explanation.
    explanation = _fetch(phone, plain_url)
    for path in ("/root.key", "/api/v1/box", "/static/panel.css", "/sign-in", "/rtc"):
        assert _fetch(phone, plain_url + path) == explanation, path
    with (
        visit(plain_url, device=lane.stranger) as visited,
        pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"),
    ):
        visited.page.goto(lane.shown["url"])


def test_the_owner_sees_the_way_in_for_other_devices(lane: Lane, owner: Cookies) -> None:
    url = lane.shown["url"]
    with visit(url, path="/devices", cookies=owner, device=lane.friend, width=390) as visited:
        page = visited.page
        assert page.locator("#lan-url").input_value() == url
        assert visited.text("#fingerprint") == lane.shown["fingerprint"]
        # The code is that of the address and of no other.
        drawn = page.locator("#lan-code path").last.get_attribute("d")
        assert drawn
        assert f'd="{drawn}"' in str(qr_inline(url))
        assert f'd="{drawn}"' not in str(qr_inline(url + "/"))
        visited.look("page-devices-open")
        with page.expect_download() as saved:
            page.click('a[href="/devices/root.crt"]')
        kept = Path(saved.value.path()).read_text(encoding="ascii")
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(kept)).hexdigest()
        assert digest == lane.shown["fingerprint"].replace(":", "").lower()
        visited.assert_clean()


def test_a_phone_talks_and_so_it_does_without_udp(
    lane: Lane, owner: Cookies, tmp_path: Path
) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", _SILENCE_S)
    url = lane.shown["url"]
    with visit(
        url, path="/talk", cookies=owner, microphone=wav, device=lane.friend, width=390
    ) as visited:
        visited.page.click("#start")
        visited.until(lambda: visited.observed("loudMs") >= 500, _GREETING_S, "a greeting to hear")
        visited.until(lambda: visited.lines("you"), _SILENCE_S + 30, "the spoken words")
        loud = visited.observed("loudMs")
        visited.until(lambda: len(visited.lines("agent")) > 1, _ANSWER_S, "an answer")
        visited.until(lambda: visited.observed("loudMs") > loud + 300, 15, "an answer to hear")
        visited.until(lambda: "directly (UDP)" in visited.text("#line"), 15, "the connection")
        heard = " ".join(visited.lines("you"))
        assert error_rate(["What is the capital of France?"], [heard]) <= 0.2
        visited.until(lambda: knows_france(heard, visited.lines("agent")[1]), 15, "the capital")
        visited.shot("phone-talk")
        visited.page.click("#end")
        visited.wait_phase("ended", 15)
        visited.assert_clean()

        with lane.cable.without_udp():
            visited.page.click("#start")
            visited.until(lambda: "over TCP" in visited.text("#line"), _GREETING_S, "the other way")
            loud = visited.observed("loudMs")
            visited.until(lambda: visited.observed("loudMs") > loud + 500, _GREETING_S, "a voice")
            visited.wait_phase("listening", 30)
            before = len(visited.lines("agent"))
            visited.page.fill("#message", "What is the capital of France?")
            visited.page.keyboard.press("Enter")
            visited.until(lambda: len(visited.lines("agent")) > before, _ANSWER_S, "an answer")
            visited.until(lambda: "paris" in visited.lines("agent")[-1].lower(), 15, "its words")
            assert visited.sent()["seconds"] > 0
            visited.shot("phone-talk-tcp")
            visited.page.click("#end")
            visited.wait_phase("ended", 15)
