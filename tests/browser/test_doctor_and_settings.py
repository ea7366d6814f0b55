"""The doctor finds its way from a real Chromium, and a setting is changed as its owner does it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from appliance.checks import NAMES
from tests.box import Box
from tests.browser.chromium import Visit, spoken, visit
from tests.recordings import DATA, error_rate
from tests.results import note

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# As behind a firewall: what is offered for UDP leads nowhere, in either direction.
_NO_UDP = """() => {
    const all = RTCPeerConnection.prototype;
    const { addIceCandidate, setRemoteDescription, createOffer } = all;
    const passes = (line) => !/^(a=)?candidate:\\S+ \\d+ udp /i.test(line);
    const only = (given) =>
        ({ type: given.type, sdp: given.sdp.split("\\r\\n").filter(passes).join("\\r\\n") });
    all.addIceCandidate = function (given) {
        return passes(given?.candidate ?? "") ? addIceCandidate.call(this, given) : Promise.resolve();
    };
    all.setRemoteDescription = function (given) { return setRemoteDescription.call(this, only(given)); };
    all.createOffer = async function (given) { return only(await createOffer.call(this, given)); };
    Object.defineProperty(all, "onicecandidate", { configurable: true, set() {} });
}"""
_CHECK_S = 60.0
_LOOP_S = 90.0
_RESTART_S = 60.0


def _state(visited: Visit, test: str) -> str:
    return visited.page.locator(f'[data-test="{test}"]').get_attribute("data-state") or ""


def _said(visited: Visit, test: str) -> str:
    return visited.text(f'[data-test="{test}"] .said')


def _wait(visited: Visit, test: str, within_s: float) -> None:
    done = ("ok", "warn", "fail", "skipped")
    visited.until(lambda: _state(visited, test) in done, within_s, f"an end of {test}")


def test_the_doctor_finds_the_way_and_hears(box: Box, tmp_path: Path) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", 0.5)
    with visit(box.url, path="/doctor", cookies=box.sign_in(), microphone=wav) as visited:
        page = visited.page
        visited.until(
            lambda: page.locator("#box .finding").count() >= len(NAMES), 30, "the box's findings"
        )
        assert page.locator('#box [data-state="fail"]').all_inner_texts() == []
        assert page.locator('[data-check="livekit"]').get_attribute("data-state") == "ok"

        page.click("#check-browser")
        _wait(visited, "tcp", _CHECK_S)
        states = {
            name: _state(visited, name)
            for name in ("secure", "roundtrip", "clock", "microphone", "udp", "tcp")
        }
        said = {name: _said(visited, name) for name in states}
        note("doctor in the browser", said=said)
        # A busy machine answers slowly, and the doctor is right to say so.
        assert states.pop("roundtrip") in ("ok", "warn"), said
        assert set(states.values()) == {"ok"}, (said, visited.told)
        udp, tcp = box.settings.livekit.udp_port, box.settings.livekit.tcp_port
        assert f":{udp}," in _said(visited, "udp")
        assert f":{tcp}," in _said(visited, "tcp")

        page.click("#loop-speak")
        _wait(visited, "ear", _LOOP_S)
        assert (_state(visited, "ear"), _state(visited, "voice")) == ("ok", "ok")
        heard = _said(visited, "ear").partition("“")[2].partition("”")[0]
        assert error_rate(["What is the capital of France?"], [heard]) <= 0.2

        page.click("#digests button")
        visited.until(
            lambda: page.locator('#digests [data-state="ok"]').count() >= 3, 60, "right digests"
        )
        visited.look("doctor")
        with page.expect_download() as download:
            page.click('[data-opens="bundle"]')
            page.click("#bundle a[download]")
        bundle = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
        assert "logs/livekit.log" in bundle.namelist()
        visited.assert_clean()


def test_without_a_microphone_the_doctor_says_so_and_a_recorded_question_is_heard(box: Box) -> None:
    with visit(box.url, path="/doctor", cookies=box.sign_in(), microphone="denied") as visited:
        visited.page.click("#check-browser")
        _wait(visited, "tcp", _CHECK_S)
        assert _state(visited, "microphone") == "fail"
        assert "told not to give its microphone" in _said(visited, "microphone")
        visited.page.click("#loop-sample")
        _wait(visited, "ear", _LOOP_S)
        assert (_state(visited, "ear"), _state(visited, "voice")) == ("ok", "ok")
        visited.assert_clean()


def test_a_path_that_is_closed_is_told_as_such(box: Box) -> None:
    with visit(box.url, path="/doctor", cookies=box.sign_in()) as visited:
        visited.page.evaluate(_NO_UDP)
        visited.page.click("#check-browser")
        _wait(visited, "tcp", _CHECK_S)
        assert (_state(visited, "udp"), _state(visited, "tcp")) == ("warn", "ok")
        assert "UDP does not get through to" in _said(visited, "udp")


def test_a_setting_is_changed_and_restarted(box: Box) -> None:
    with visit(box.url, path="/settings", cookies=box.sign_in()) as visited:
        page = visited.page
        port = page.locator("#s-front-http_port")
        assert port.get_attribute("readonly") is not None
        assert "APPLIANCE_FRONT__HTTP_PORT" in visited.text("#s-front-http_port-why")
        visited.look("settings", whole=False)

        page.fill("#s-access-idle_s", "5")
        page.click("text=Review changes")
        visited.until(lambda: visited.text("#s-access-idle_s-problem"), 10, "what is wrong")
        assert "greater than or equal to 60" in visited.text("#s-access-idle_s-problem")
        assert page.locator("#s-access-idle_s").get_attribute("aria-invalid") == "true"
        visited.look("settings-mistake", whole=False)

        page.fill("#s-access-idle_s", "3600")
        assert visited.text("#count") == "1 setting changed."
        page.click("text=Review changes")
        visited.until(lambda: page.locator("#review[open] ins").count(), 10, "the difference")
        assert page.locator("#review ins").all_inner_texts() == ["3600"]
        visited.look("settings-review", whole=False)
        page.click("#review button.primary")
        visited.until(lambda: page.url.endswith("saved=true"), 10, "saved")
        assert "idle_s = 3600" in box.settings.settings_file.read_text()

        restart = page.locator("#waiting button")
        assert "control panel" in visited.text("#waiting")
        visited.look("settings-waiting", whole=False)
        before = box.pid("panel")
        restart.click()
        visited.until(lambda: box.pid("panel") not in (0, before), _RESTART_S, "a new panel")
        box.wait_ready()
        visited.until(
            lambda: page.locator("#waiting .waiting").count() == 0, _RESTART_S, "nothing that waits"
        )
        visited.go("/settings")
        # While the panel was away the browser wrote refused requests on its console.
        visited.complaints.clear()
        assert page.locator("#s-access-idle_s").input_value() == "3600"

        page.click('[data-resets="s-access-idle_s"]')
        assert page.locator("#s-access-idle_s").input_value() == "1800"
        page.click("text=Review changes")
        visited.until(lambda: page.locator("#review[open] ins").count(), 10, "the difference")
        page.click("#review button.primary")
        visited.until(lambda: page.url.endswith("saved=true"), 10, "saved")
        assert "idle_s" not in box.settings.settings_file.read_text()

        page.click('[data-opens="import"]')
        page.fill("#import-text", "[access]\nidle_s = 1800\nlongest_s = 86400\n")
        page.click("#import-form button.primary")
        visited.until(lambda: page.locator("#import-review ins").count(), 10, "the difference")
        visited.look("settings-import", whole=False)
        visited.assert_clean()
