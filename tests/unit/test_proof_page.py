"""The last proof: kept, read back, shown on its page, on Home and to programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.proof.reports import Proof, as_text, keep, latest, lines, proof_from
from appliance.settings import Settings
from tests.panel_app import box_settings, running_panel

pytestmark = pytest.mark.unit
PROBES = ["2001:4860:4860::8888 port 53", "8.8.8.8 port 53"]
TURN = {"heard": "What is <b>France</b>?", "answered": "Paris."}


def proof(**changes: Any) -> Proof:
    """A proof that holds, unless changed."""
    values: dict[str, Any] = {
        "date": "2026-11-20T09:30:00+00:00", "version": "0.1.0", "kind": "image",
        "image": "earshot:0.1.0-cpu", "digest": "sha256:ab12", "programs": ["livekit", "panel"],
        "seconds_watched": 140, "seconds_after_call": 61, "calls_traced": 9000,
        "refused": PROBES, "call": {"turns": [TURN]}, "switched": "whisper-tiny.en gave way to whisper-base", "pages": 17,
    }  # fmt: skip
    return Proof(**(values | changes))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box's."""
    return box_settings(tmp_path / "data")


def test_the_newest_that_can_be_read_is_the_last(settings: Settings) -> None:
    assert latest(settings) is None
    keep(settings, proof())
    newer = proof(date="2026-11-21T08:00:00+00:00", attempts=["process 3: connect"])
    path = keep(settings, newer)
    assert path.stat().st_mode & 0o777 == 0o600
    assert latest(settings) == newer
    folder = settings.data_dir / "proofs"
    for number, text in enumerate(("", "[]", '{"version": "1"}', "\x00")):
        (folder / f"offline-2027-{number}.json").write_text(text)
    assert latest(settings) == newer


def test_reports_of_other_versions_are_read() -> None:
    text = as_text(proof()).replace('"pages": 17', '"something_new": 1')
    assert proof_from(text) == proof(pages=0)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"attempts": ["process 3: connect to 9.9.9.9"]}, False),
        ({"refused": []}, True),
        ({"refused": [*PROBES, "9.9.9.9 port 53"]}, False),
        ({"refused": ["8.8.8.8 port 443"]}, False),
        ({"stun": ["stun:stun.l.google.com:19302"]}, False),
        ({"problem": "The box died."}, False),
        ({"call": {}}, False),
        ({"call": {"turns": [{**TURN, "answered": ""}]}}, False),
    ],
)
async def test_a_proof_is_shown_as_what_it_is(
    settings: Settings, changes: dict[str, Any], holds: bool
) -> None:
    keep(settings, proof(**changes))
    assert ("Nothing left the box." in lines(proof(**changes))) is holds
    async with running_panel(settings) as panel:
        page = (await panel.http.get("/proof")).text
        home = (await panel.http.get("/")).text
        told = (await panel.http.get("/api/v1/proof")).json()
    assert told["holds"] is holds
    refused = proof(**changes).refused
    assert told["refused"] == refused
    assert told["unexpected"] == [one for one in refused if one not in PROBES]
    for one in refused:
        known = one in PROBES
        (said,) = (line for line in lines(proof(**changes)) if line.startswith(f"  {one} "))
        assert ("libwebrtc" in said, "UNEXPECTED" in said) == (known, not known)
        assert one in page
    assert ("libwebrtc" in page) is any(one in PROBES for one in refused)
    assert ("a program tried" in page.lower()) is bool(told["unexpected"])
    assert ("0 attempts to reach an address" in page) is holds
    assert ("Nothing leaves this machine" in home) is holds
    assert ("failed" in home) is not holds
    assert 'href="/proof"' in home
    for what in ("9.9.9.9", "stun.l.google.com", "The box died."):
        assert (what in page) == (what in str(changes))
    if "call" not in changes:
        assert "&lt;b&gt;France" in page
        assert told["exchanges"] == [TURN]
    for what in ("2026-11-20", "sha256:ab12", "livekit, panel", "61 s of them", "17 read"):
        assert what in page


async def test_without_one_the_page_says_how(settings: Settings) -> None:
    async with running_panel(settings) as panel:
        page = (await panel.http.get("/proof")).text
        home = (await panel.http.get("/")).text
        assert (await panel.http.get("/api/v1/proof")).json() is None
    assert "No proof yet" in page
    assert "scripts/appliance prove-offline" in page
    assert "how to prove it" in home


def test_a_proof_that_must_fail_is_kept_by_nobody(settings: Settings) -> None:
    def hand_in(report: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "appliance.proof", "keep", "earshot:9", "sha256:cd34"],
            input=report, text=True, capture_output=True, check=False,
            env={**os.environ, "APPLIANCE_DATA_DIR": str(settings.data_dir)},
        )  # fmt: skip

    assert hand_in(as_text(proof(attempts=["x"], negative_control=True))).returncode == 1
    assert latest(settings) is None
    said = hand_in(as_text(proof(kind="native", image="", digest="")))
    assert (said.returncode, "Nothing left the box." in said.stdout) == (0, True)
    found = latest(settings)
    assert found is not None
    assert (found.kind, found.image, found.digest) == ("image", "earshot:9", "sha256:cd34")
    nothing = hand_in("no report")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "without a report" in nothing.stderr
