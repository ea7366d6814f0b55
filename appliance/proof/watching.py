"""Inside the namespace: the box runs under strace, a call is held, the trace is judged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.proof import deeds, ice, room, trace
from appliance.proof.reports import Proof, as_text
from appliance.proof.traced import NOBODY
from appliance.secrets import known_local_token
from appliance.settings import PROJECT_DIR, Settings, load_settings, sealed_environment
from appliance.supervision import sweep

AFTER_CALL_S = 35
# What a deed sets going is to be seen, too.
_AFTER_DEEDS_S = 5
REPORT = "proof.json"
_START_S = 300
_STOP_S = 60
_COMMAND_S = 120
_TIMED_OUT = 124  # as of timeout(1)
_APPLIANCE = [sys.executable, "-m", "appliance.cli"]


@dataclass
class Order:
    """What the namespace is asked to do; a JSON file hands it over."""

    folder: str
    recording: str
    negative_control: bool = False
    kind: Literal["native", "image"] = "native"
    after_call_s: int = AFTER_CALL_S
    program: list[str] = field(default_factory=lambda: ["appliance.cli", "run"])
    """The module that holds the box, and its arguments."""


def watch(order_file: Path) -> int:
    """Run the proof and write its report beside the order; 0 when it holds."""
    order = Order(**json.loads(order_file.read_text()))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    proof = Proof(now, __version__, order.kind, negative_control=order.negative_control)
    try:
        # A container has its network already.
        with room.cable() if order.kind == "native" else nullcontext():
            room.require_no_way_out()
            _hold_a_call(order, proof)
    except ApplianceError as error:
        proof.problem = str(error)
    Path(order.folder, REPORT).write_text(as_text(proof))
    return 0 if proof.holds else 1


def _hold_a_call(order: Order, proof: Proof) -> None:
    settings = load_settings()
    traced = Path(order.folder, "trace.txt")
    log = Path(order.folder, "box.log")
    own = room.own_addresses()
    began = time.monotonic()
    control = room.neighbour() if order.negative_control else NOBODY
    with log.open("w") as output:
        box = subprocess.Popen(
            ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none",
             "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(traced),
             sys.executable, "-m", "appliance.proof.traced", control, *order.program],
            cwd=PROJECT_DIR, env=sealed_environment(), stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        proof.programs = _until_ready(box, log)
        proof.stun = ice.public(asyncio.run(_ask_for_ice(settings)), own)
        proof.call = _call(order.recording)
        called = time.monotonic()
        # The packet of a control is seen long before.
        if not order.negative_control:
            with deeds.owner(settings) as http:
                proof.switched = deeds.switch_model(http)
                proof.pages = deeds.read_pages(http)
            _watch_on(box, max(_AFTER_DEEDS_S, called + order.after_call_s - time.monotonic()))
        proof.seconds_after_call = round(time.monotonic() - called)
    except ApplianceError as error:
        # What was tried until then is told with it.
        proof.problem = str(error)
    except httpx.HTTPError as error:
        proof.problem = f"The panel did not answer as it should: {error}"
    finally:
        _stop(box, settings)
    proof.seconds_watched = round(time.monotonic() - began)
    with traced.open(errors="replace") as lines:
        seen = list(lines)
    proof.calls_traced = len(seen)
    refused = Path(order.folder, "refused.txt")
    proof.refused = sorted(set(refused.read_text().splitlines())) if refused.exists() else []
    proof.attempts = sorted({str(attempt) for attempt in trace.attempts(seen, own)})
    if not seen and not proof.problem:
        proof.problem = "strace saw nothing at all, so nothing is proved."


def _until_ready(box: subprocess.Popen[bytes], log: Path) -> list[str]:
    """Wait for the box; returns its programs."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if box.poll() is not None:
            raise ApplianceError("did_not_start", f"The box did not start: {_tail(log)}")
        answer = _json("status", "--json")
        if answer.get("ready"):
            return [program["name"] for program in answer["programs"]]
    raise ApplianceError(
        "did_not_start", f"The box was not ready within {_START_S} s: {_tail(log)}"
    )


def _call(recording: str) -> dict[str, Any]:
    answer = _json("call", "--json", recording)
    if not answer:
        raise ApplianceError("no_call", "No call could be held.", _run("status").stdout.strip())
    return answer


def _json(*arguments: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(_run(*arguments).stdout)
    except ValueError:
        return {}
    return answer


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*_APPLIANCE, *arguments]
    try:
        return subprocess.run(
            command, cwd=PROJECT_DIR, env=sealed_environment(),
            capture_output=True, text=True, check=False, timeout=_COMMAND_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        # What was traced until then is still to be told.
        return subprocess.CompletedProcess(command, _TIMED_OUT, "", "")


async def _ask_for_ice(settings: Settings) -> list[str]:
    front = f"http://127.0.0.1:{settings.front.http_port}"
    headers = {"Authorization": f"Bearer {known_local_token(settings)}"}
    async with httpx.AsyncClient(base_url=front, headers=headers, trust_env=False) as http:
        answer = (await http.post("/api/v1/sessions", json={})).raise_for_status().json()
        urls = await ice.handed_out(answer["url"], answer["token"])
        await http.post(f"/api/v1/sessions/{answer['session_id']}/end", json={})
    return urls


def _watch_on(box: subprocess.Popen[bytes], seconds: float) -> None:
    """Let the box run on; what is traced meanwhile counts, too."""
    try:
        box.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise ApplianceError("died", "The box ended by itself while it was watched.")


def _stop(box: subprocess.Popen[bytes], settings: Settings) -> None:
    _json("down")
    try:
        box.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        sweep(settings.run_dir, grace_s=0)
        box.kill()
        box.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."
