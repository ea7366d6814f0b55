"""A disk that is really full: calls say so, deleting and signing in go on, and it recovers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

_SIZE_MB = 48
# Runs on a file system of its own, which nobody else sees and which goes with it.
_SCRIPT = """
import os, sys
from pathlib import Path
from appliance.errors import ApplianceError
from appliance.store import EndState, Store, upgrade
from appliance.store.audit import Deed
from appliance.store.reserve import SIZE_BYTES

folder = Path(sys.argv[1])
url = f"sqlite:///{folder}/appliance.db"
upgrade(url)
store = Store(url)
store.owner.claim("hash")

def hold(words):
    call = store.sessions.create(persona="default", keep_transcript=True)
    for _ in range(10):
        index = store.turns.begin(call.id, words)
        store.turns.finish(call.id, index, words, interrupted=False, ms={})
    return call

for _ in range(30):
    store.sessions.end(hold("what was said before " * 50).id, EndState.COMPLETED)
live = hold("a call that goes on")
assert store.scrub()
store.reserve.lay_by()
(reserve,) = folder.glob("*.reserve")
assert reserve.stat().st_size == SIZE_BYTES
assert reserve.stat().st_mode & 0o777 == 0o600
filler = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, b"x" * 4096)
except OSError:
    os.close(filler)

try:
    while True:
        store.turns.begin(live.id, "a question on a full disk " * 20)
except ApplianceError as error:
    assert error.code == "disk_full", error.code
print("full")
store.sign_ins.add("d" * 64, "127.0.0.1", "browser", "hash")
store.audit.append(Deed("owner", "", "owner.signed_in"))
assert not reserve.exists()
gone = store.calls.delete_ended()
assert (gone.calls, gone.turns) == (30, 300), gone
assert store.scrub()
print("deleted")
# The pages that were given back, and the room that was kept, are enough for the call to go on.
store.turns.begin(live.id, "a question afterwards")
store.reserve.lay_by()
assert not reserve.exists()
(folder / "filler").unlink()
store.reserve.lay_by()
assert reserve.exists()
with store.read() as connection:
    assert connection.exec_driver_sql("PRAGMA quick_check").scalar() == "ok"
print("recovered")
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux's unshare")
def test_deleting_and_signing_in_go_on_when_the_disk_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={_SIZE_MB}m tmpfs "$1" && exec "$0" -c "$2" "$1"'
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--mount", "sh", "-c", mount, sys.executable, str(disk), _SCRIPT],
        cwd=PROJECT_DIR, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line in ("full", "deleted", "recovered")]
    assert said == ["full", "deleted", "recovered"]
