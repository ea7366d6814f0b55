"""The preloaded seal: public addresses are refused before the kernel is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.proof.reports import Proof
from appliance.proof.traced import PUBLIC
from appliance.settings import SEAL_LIBRARY, sealed_environment

pytestmark = pytest.mark.security

_TRY = """
import errno, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as s:
    try:
        s.connect((sys.argv[1], 9)) if sys.argv[2] == "connect" else s.sendto(b"x", (sys.argv[1], 9))
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("passed")
"""


def _outcome(address: str, call: str) -> tuple[str, bool]:
    """What the program saw, and whether the kernel was asked."""
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=connect,sendto", sys.executable, "-c", _TRY, address, call],
        env=sealed_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip(), address.removeprefix("::ffff:") in done.stderr


@pytest.mark.parametrize("call", ["connect", "sendto"])
@pytest.mark.parametrize(
    "address",
    ["203.0.113.7", "8.8.8.8", "224.0.0.251", "2001:db8::1", "ff02::fb", "::ffff:203.0.113.7"],
)
def test_public_addresses_are_refused(address: str, call: str) -> None:
    assert SEAL_LIBRARY.is_file()
    assert _outcome(address, call) == ("ENETUNREACH", False)


def test_the_control_of_the_proof_is_refused_and_makes_it_fail(tmp_path: Path) -> None:
    log = tmp_path / "refused.txt"
    subprocess.run(
        [sys.executable, "-m", "appliance.proof.traced", "127.0.0.1", "this"],
        env=sealed_environment() | {"EARSHOT_SEAL_LOG": str(log)}, check=True, capture_output=True,
    )  # fmt: skip
    refused = log.read_text().splitlines()
    assert refused == [f"{PUBLIC} port 9"]
    call = {"turns": [{"heard": "Who?", "answered": "I."}]}
    assert Proof("2026-11-20", "0.1.0", call=call).holds
    assert not Proof("2026-11-20", "0.1.0", call=call, refused=refused).holds


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_machine_itself_is_reached(address: str) -> None:
    assert _outcome(address, "connect") == ("passed", True)
