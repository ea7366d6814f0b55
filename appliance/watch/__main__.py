"""``python -m appliance.watch``, started by supervisord; sweeps up after it when it is killed."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import os
import sys
import time

from appliance import logs
from appliance.settings import load_settings
from appliance.supervision import supervisor_of, sweep
from appliance.watch import Watch, read_event

_ORPHANED_WITHIN_S = 2.0
_SWEEP_GRACE_S = 3.0


def main() -> None:
    """Speak the listener's protocol until supervisord is gone."""
    # stdout is the protocol: everything else that is printed goes to the log on stderr.
    protocol = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    settings = load_settings()
    logs.configure("watch", settings.log_level)
    watch = Watch(settings.run_dir, supervisor_of(settings))
    supervisor_pid = os.getppid()
    while True:
        try:
            protocol.write("READY\n")
            event = read_event(sys.stdin)
            if event is None:
                break
            watch.take(event, time.monotonic())
            protocol.write("RESULT 2\nOK")
            protocol.flush()
        except BrokenPipeError:
            break
    if _orphaned(supervisor_pid):
        # supervisord was killed: its programs would run on with nobody to restart or stop them.
        with (settings.data_dir / "logs" / "watch.log").open("ab") as log:
            # stderr led to supervisord.
            os.dup2(log.fileno(), 1)
        count = sweep(settings.run_dir, grace_s=_SWEEP_GRACE_S, sparing=os.getpid())
        logs.get(__name__).error("supervisord_died", processes_ended=count)


def _orphaned(supervisor_pid: int) -> bool:
    """Whether supervisord is dead; its pipes close a moment before the kernel says so."""
    until = time.monotonic() + _ORPHANED_WITHIN_S
    while os.getppid() == supervisor_pid and time.monotonic() < until:
        time.sleep(0.02)
    return os.getppid() != supervisor_pid


if __name__ == "__main__":
    main()
