"""How a program that has called ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

# A native call that comes back while the interpreter is being taken down: `lasting` holds that up.
_CALLED_BACK_LATE = """
import asyncio, sys, threading, time
from livekit import rtc
from livekit.rtc import _ffi_client

inside, last, ends = threading.Event(), threading.Event(), threading.Event()
put = _ffi_client.FfiQueue.put

def slowly(self, item):
    if last.is_set():
        inside.set()
        ends.wait()
    put(self, item)

class Lasting:
    def __del__(self, now=time.monotonic, ends=ends):
        ends.set()
        until = now() + 2
        while now() < until:
            pass

async def speak():
    source = rtc.AudioSource(48000, 1)
    frame = rtc.AudioFrame(bytes(960), 48000, 1, 480)
    await source.capture_frame(frame)
    last.set()
    speaking = asyncio.ensure_future(source.capture_frame(frame))
    while not inside.is_set():
        await asyncio.sleep(0.002)
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    return source

_ffi_client.FfiQueue.put = slowly
sys.lasting = Lasting()
kept = asyncio.run(speak())
sys.stdout.write("spoken")
"""


def run(end: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _CALLED_BACK_LATE + end], cwd=PROJECT_DIR,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_native_call_that_is_late_does_not_abort_the_program() -> None:
    done = run("from appliance.leaving import leave\nleave(3)")
    assert (done.returncode, done.stdout) == (3, "spoken"), done.stderr


def test_without_a_call_the_program_ends_as_any_other(tmp_path: Path) -> None:
    mark = tmp_path / "tidied"
    program = (
        "import atexit, pathlib, sys\nfrom appliance.leaving import leave\n"
        f"atexit.register(pathlib.Path({str(mark)!r}).touch)\nprint('done')\nleave(2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "done\n"), done.stderr
    assert mark.exists()
