"""In a container of the image that was started for the proof alone: no route, no owner's data to write."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from appliance.errors import ApplianceError, NotReady
from appliance.proof import room
from appliance.proof.preparing import environment
from appliance.proof.proving import RECORDING
from appliance.proof.reports import Proof, proof_from
from appliance.proof.watching import REPORT, Order
from appliance.settings import PROJECT_DIR, Settings

AFTER_CALL_S = 60


def prove_here(settings: Settings, folder: Path, *, negative_control: bool = False) -> Proof:
    """Hold the proof in this container's own network.

    Args:
        settings: the owner's; their data folder is only read.
        folder: an empty one that can be written.
        negative_control: let one packet leave, so that the proof must fail.

    Raises:
        NotReady: this network has no address, or a way out.
        ApplianceError: it ended without a report.
    """
    addresses = room.lan_addresses()
    if not addresses:
        raise NotReady("no_address", "This container has no network of its own.")
    order = folder / "order.json"
    wanted = Order(
        str(folder), str(RECORDING), negative_control,
        kind="image", after_call_s=AFTER_CALL_S, program=["appliance.container"],
    )  # fmt: skip
    order.write_text(json.dumps(asdict(wanted)))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "appliance.proof", str(order)],
        cwd=PROJECT_DIR, env=environment(settings, folder, addresses[0]), check=False,
        stdin=subprocess.DEVNULL, stdout=sys.stderr,
    )  # fmt: skip
    report = folder / REPORT
    if not report.exists():
        raise ApplianceError(
            "proof_failed", f"The proof ended without a report (exit code {done.returncode})."
        )
    return proof_from(report.read_text(encoding="utf-8"))
