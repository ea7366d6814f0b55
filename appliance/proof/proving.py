"""Outside the namespace: prepare a box of its own, run the proof there, keep the report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from appliance.errors import ApplianceError, TimedOut
from appliance.headset import Clip
from appliance.proof import room
from appliance.proof.watching import AFTER_CALL_S, Order, Proof
from appliance.settings import PROJECT_DIR, Settings, sealed_environment

DEADLINE_S = 600
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
        TimedOut: it took more than ten minutes.
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
                command, cwd=PROJECT_DIR, env=_environment(settings, folder / "data"), check=False,
                capture_output=True, text=True, timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TimedOut("proof_timed_out", "The proof took more than ten minutes.") from error
        report = folder / "proof.json"
        if not report.exists():
            raise ApplianceError(
                "proof_failed", f"The proof ended without a report: {_last_line(done.stderr)}",
                "Run it as root, or allow unprivileged user namespaces.",
            )  # fmt: skip
        return Proof(**json.loads(report.read_text()))


def keep(settings: Settings, proof: Proof) -> Path:
    """Write the report into the data folder; returns its path."""
    folder = settings.data_dir / "proofs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"offline-{proof.date.replace(':', '')}.json"
    path.write_text(json.dumps({**asdict(proof), "holds": proof.holds}, indent=1))
    return path


def lines(proof: Proof) -> list[str]:
    """The report for people."""
    verdict = "Nothing left the box." if proof.holds else "THE PROOF FAILED."
    heard = "; ".join(turn["heard"] for turn in proof.call.get("turns", []))
    answered = "; ".join(turn["answered"] for turn in proof.call.get("turns", []))
    return [
        f"Offline proof of {proof.date}, Earshot {proof.version}",
        f"programs          {', '.join(proof.programs) or 'none'}",
        f"watched           {proof.seconds_watched} s, {AFTER_CALL_S} s of them after the call",
        f"system calls seen {proof.calls_traced}",
        f"call              heard {heard!r}, answered {answered!r}",
        f"attempts          {len(proof.attempts)}",
        *[f"  {attempt}" for attempt in proof.attempts],
        f"refused before    {', '.join(proof.refused) or 'none'} (by native/seal.c)",
        f"public STUN/TURN  {', '.join(proof.stun) or 'none'}",
        *([f"problem           {proof.problem}"] if proof.problem else []),
        verdict,
    ]


def _environment(settings: Settings, data: Path) -> dict[str, str]:
    data.mkdir(mode=0o700)
    if settings.settings_file.exists():
        shutil.copy(settings.settings_file, data)
    personas = settings.data_dir / "personas"
    if personas.is_dir():
        shutil.copytree(personas, data / "personas")
    environment = sealed_environment() | {
        "APPLIANCE_DATA_DIR": str(data),
        # The owner's store is not to see this call, nor this panel the owner's calls.
        "APPLIANCE_DATABASE_URL": f"sqlite:///{data / 'appliance.db'}",
        "EARSHOT_SEAL_LOG": str(data.with_name("refused.txt")),
        "APPLIANCE_MODELS_DIR": str(settings.models_path),
        "APPLIANCE_LIVEKIT__NODE_IP": room.NEAR,
    }
    environment.pop("XDG_RUNTIME_DIR", None)
    return environment


def _last_line(text: str) -> str:
    found = text.strip().splitlines()
    return found[-1] if found else f"nothing was said (as user {os.getuid()})."
