"""Outside the namespace: prepare a box of its own, run the proof there, keep the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from appliance.errors import ApplianceError, TimedOut
from appliance.headset import Clip
from appliance.proof import room
from appliance.proof.preparing import environment
from appliance.proof.reports import Proof, proof_from
from appliance.proof.watching import REPORT, Order
from appliance.settings import PROJECT_DIR, Settings

DEADLINE_S = 1200
RECORDING = Path(__file__).with_name("question.flac")


def prove(
    settings: Settings, recording: Path = RECORDING, *, negative_control: bool = False
) -> Proof:
    """Hold a call in a namespace without a way out and watch every program.

    The proof starts the owner's settings and models with an empty data folder of its own; the box
    in use, if one runs, is not disturbed.

    Args:
        settings: the owner's.
        recording: what the caller says.
        negative_control: let one packet leave, so that the proof must fail.

    Raises:
        BadInput: the recording cannot be read or holds no sound.
        NotReady: the machine lacks strace, iproute2 or the right to make a namespace.
        TimedOut: it took more than twenty minutes.
    """
    room.require_tools()
    Clip.read(recording)
    with tempfile.TemporaryDirectory(prefix="earshot-proof-") as name:
        folder = Path(name)
        order = folder / "order.json"
        order.write_text(
            json.dumps(asdict(Order(name, str(recording.absolute()), negative_control)))
        )
        command = [*room.enter_command(), sys.executable, "-m", "appliance.proof", str(order)]
        try:
            done = subprocess.run(
                command, cwd=PROJECT_DIR, env=environment(settings, folder, room.NEAR), check=False,
                capture_output=True, text=True, timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TimedOut("proof_timed_out", "The proof took more than twenty minutes.") from error
        report = folder / REPORT
        if not report.exists():
            raise ApplianceError(
                "proof_failed", f"The proof ended without a report: {_last_line(done.stderr)}",
                "Run it as root, or allow unprivileged user namespaces.",
            )  # fmt: skip
        return proof_from(report.read_text(encoding="utf-8"))


def _last_line(text: str) -> str:
    found = text.strip().splitlines()
    return found[-1] if found else f"nothing was said (as user {os.getuid()})."
