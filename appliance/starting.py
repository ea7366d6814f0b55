"""Starting the box, holding it, and stopping it."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil

from appliance import logs, preflight
from appliance.backup.swapping import settle
from appliance.errors import ApplianceError, NotReady, Refused, TimedOut
from appliance.farewell import bid_farewell
from appliance.gpu import why_unusable
from appliance.holding import Report, Signals, Wish
from appliance.rendering import FRONTS, MODEL_SERVICES, programs, render, write_private
from appliance.running import as_started, keep_start
from appliance.settings import Settings, sealed_environment
from appliance.settings_file import read_file
from appliance.status import BoxStatus, ProgramStatus, box_status
from appliance.supervision import (
    MARK,
    Record,
    members,
    read_records,
    records_path,
    records_text,
    supervisor_of,
    sweep,
)
from appliance.watch import CORE

CORE_LOST_EXIT = 70
# Models of tens of gigabytes come from slow disks.
_READY_WITHIN_S = 900.0
_POLL_S = 0.25
_SWEEP_GRACE_S = 3.0
_SUPERVISOR_GONE_WITHIN_S = 10.0
# A program that ended this often while the box starts will not come up.
_ENOUGH_ENDS = 3
_FAILED = ("failed", "given_up")
# What somebody needs to see what is wrong with the rest.
_PAGE = CORE | set(FRONTS)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
log = logs.get(__name__)


class AlreadyRunning(Refused):
    """This data folder's box runs."""


class Interrupted(ApplianceError):
    """The person, or the system, asked to stop while the box was starting."""

    exit_code = 130


def start(settings: Settings, *, detach: bool, report: Report, wish: Wish | None = None) -> int:
    """Start the box and, unless ``detach``, hold it until a signal. Returns the exit code.

    Nothing is left running when this raises. Where the GPU that the settings require cannot be
    used, no model is started, and the page says why.

    Raises:
        AlreadyRunning: this data folder's box runs.
        ApplianceError: a check failed or a program did not come up; says which and why.
    """
    signals = Signals()
    wish = wish or Wish()
    with signals.caught():
        preflight.prepare_folders(settings)
        with _box_lock(settings) as lock:
            sweep(settings.run_dir, grace_s=_SWEEP_GRACE_S)
            settle_restore(settings)
            for warning in preflight.check(settings):
                report.warn(warning)
            held_back = _held_back(settings, wish, report)
            if signals.asked:
                raise Interrupted("interrupted", "Earshot was not started.")
            render(settings, held_back)
            supervisor = _spawn(settings, lock, tied=not detach, held_back=held_back)
        # From here on supervisord alone holds the lock: it ends with the box.
        try:
            keep_start(settings, supervisor.pid)
            patient = wish.is_patient or bool(held_back)
            box = _await_ready(settings, supervisor, signals, report, patient=patient)
            report.ready(box)
        except BaseException:
            _end(settings, supervisor, signals)
            raise
        if detach:
            return 0 if box.ready else NotReady.exit_code
        return _hold(settings, supervisor, signals, report, wish.lost)


def settle_restore(settings: Settings) -> None:
    """Put back what a restore that was killed has set aside.

    Raises:
        ApplianceError: it cannot be, or the settings are others now than those that were read.
    """
    before = read_file(settings).version
    if settle(settings.data_dir) and read_file(settings).version != before:
        raise ApplianceError(
            "restore_undone", "A restore was interrupted; what was there before it has been put back.",
            "Start Earshot again.",
        )  # fmt: skip


def _held_back(settings: Settings, wish: Wish, report: Report) -> dict[str, str]:
    """The programs that are not started, and why; whoever starts it is told once.

    Raises:
        ApplianceError: a model's files are not in order, and nobody wished for patience.
    """
    why = wish.without_models or why_unusable(settings)
    if why:
        report.warn(f"{why} No model is started; the panel is.")
        names = [program.name for program in programs(settings)]
        return {name: why for name in MODEL_SERVICES if name in names}
    try:
        preflight.check_models(settings)
    except ApplianceError as error:
        if not wish.is_patient:
            raise
        # The program that needs it will say the same of itself.
        report.warn(str(error))
    return {}


def await_running(settings: Settings, waiting: Callable[[], None]) -> None:
    """Wait until the box that somebody else started is ready; calls ``waiting`` once if it is not.

    Raises:
        TimedOut: it is not ready within the time that a start has.
        ApplianceError: it ended, or one of its programs did not come up.
    """
    until = time.monotonic() + _READY_WITHIN_S
    told = False
    with asyncio.Runner() as runner:
        while True:
            # Until this box has processes, what is recorded is of the box before it.
            spawned = bool(members(settings.run_dir))
            box = runner.run(box_status(settings, memory=False))
            if box.ready:
                return
            if not told:
                waiting()
                told = True
            for program in box.programs:
                # Ends alone do not count: this box may have been running for weeks.
                if spawned and program.state in _FAILED:
                    _refuse_failed(program)
            if not _is_held(settings):
                raise ApplianceError(
                    "box_ended", "Earshot ended before it was ready.",
                    "`scripts/appliance logs` shows why.",
                )  # fmt: skip
            if time.monotonic() > until:
                raise _late(box)
            time.sleep(_POLL_S)


def already_running(settings: Settings) -> AlreadyRunning:
    """What to say when this data folder's box runs: where it is, and whether it is as wanted."""
    running = as_started(settings)
    return AlreadyRunning(
        "already_running", f"Earshot is already running at {running.front_url}.",
        "`scripts/appliance status` says how it is; `scripts/appliance down` stops it."
        if running == settings
        else "It runs with other settings; `scripts/appliance down`, then `scripts/run`, "
        "starts it with these.",
    )  # fmt: skip


def _is_held(settings: Settings) -> bool:
    """Whether a box runs, or is being started, in this data folder."""
    try:
        with _box_lock(settings):
            return False
    except AlreadyRunning:
        return True


def _hold(
    settings: Settings,
    supervisor: subprocess.Popen[bytes],
    signals: Signals,
    report: Report,
    gone: Callable[[], str],
) -> int:
    """Until a signal, until something is gone, or the box ends by itself. Returns the exit code."""
    why = ""
    try:
        while not signals.asked and supervisor.poll() is None and not (why := gone()):
            signals.wait(_POLL_S)
        if signals.asked:
            report.stopping()
    finally:
        _end(settings, supervisor, signals)
    lost = (
        [why]
        if why
        else [
            f"{name}: {record.given_up}"
            for name, record in read_records(settings.run_dir).items()
            if name in CORE and record.given_up
        ]
    )
    for sentence in lost:
        report.warn(sentence)
    report.stopped()
    if lost:
        return CORE_LOST_EXIT
    if supervisor.returncode != 0 and not signals.asked:
        raise ApplianceError(
            "supervisor_died", "supervisord ended unexpectedly, and everything was stopped.",
            "`scripts/appliance logs supervisord` has its last words.",
        )  # fmt: skip
    return 0


def _end(settings: Settings, supervisor: subprocess.Popen[bytes], signals: Signals) -> None:
    asked = signals.count
    # The signal that began the stop does not hurry it; the next one does.
    _stop_members(settings, hurried=lambda: signals.count > max(asked, 1), reap=supervisor.poll)
    try:
        supervisor.wait(_SUPERVISOR_GONE_WITHIN_S)
    except subprocess.TimeoutExpired:
        log.error("not_ended", pids=[supervisor.pid])


def stop(settings: Settings) -> bool:
    """Stop this data folder's box and wait until every process is gone. False: it did not run."""
    if not members(settings.run_dir):
        return False
    _stop_members(settings)
    return True


def _stop_members(
    settings: Settings,
    hurried: Callable[[], bool] = lambda: False,
    reap: Callable[[], object] = lambda: None,
) -> None:
    """Tell the callers, ask supervisord to stop, wait for every process, and end what is left."""
    bid_farewell(settings, hurried)
    if not _ask_supervisord(settings):
        # Nobody is left to stop the others.
        sweep(settings.run_dir, grace_s=_SWEEP_GRACE_S)
        return
    until = time.monotonic() + settings.agent.drain_s + 12
    while members(settings.run_dir) and not hurried() and time.monotonic() < until:
        reap()
        time.sleep(0.1)
    sweep(settings.run_dir, grace_s=0.0)


def _ask_supervisord(settings: Settings) -> bool:
    """Tell supervisord to stop everything; False where there is none."""
    with suppress(ApplianceError):
        supervisor_of(settings).shutdown()
        return True
    # Before its socket is there, or when it hangs, SIGTERM is its other ear.
    for process in members(settings.run_dir):
        with suppress(psutil.Error):
            if "supervisor.supervisord" in process.cmdline():
                process.terminate()
                return True
    return False


@contextmanager
def _box_lock(settings: Settings) -> Iterator[int]:
    """The data folder's lock; a box holds it as long as its supervisord lives."""
    descriptor = os.open(settings.data_dir / "box.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise already_running(settings) from error
        yield descriptor
    finally:
        os.close(descriptor)


def _spawn(
    settings: Settings, lock: int, *, tied: bool, held_back: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start supervisord, in a session of its own so that Ctrl-C reaches it through us alone."""
    records = {name: Record(given_up=why) for name, why in (held_back or {}).items()}
    write_private(records_path(settings.run_dir), records_text(records))
    for stale in settings.run_dir.glob("*.sock"):
        stale.unlink()
    environment = {
        **sealed_environment(),
        MARK: str(settings.run_dir),
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
    }
    # The first card is to be the same one to CUDA and to NVIDIA's read-outs.
    environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if settings.gpu == "off":
        # CUDA itself then finds none, whatever a library's own switch says.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    # Compiling every library again costs each start more than half of its time.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    configuration = settings.run_dir / "supervisord.conf"
    with (settings.data_dir / "logs" / "supervisord.log").open("ab") as last_words:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=last_words,
            pass_fds=(lock,),
            start_new_session=True,
            # Only one thread runs here, which is what makes this safe.
            preexec_fn=_end_with_parent if tied else None,  # noqa: PLW1509
        )


def _end_with_parent() -> None:
    """Ask the kernel to stop supervisord, cleanly, when the process that holds it is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _await_ready(
    settings: Settings,
    supervisor: subprocess.Popen[bytes],
    signals: Signals,
    report: Report,
    *,
    patient: bool,
) -> BoxStatus:
    """Wait until every program is ready; the first that fails ends the wait with its reason.

    ``patient``: only what the page needs can fail the start, and the wait ends as soon as that is
    ready and another program has failed.
    """
    until = time.monotonic() + _READY_WITHIN_S
    with asyncio.Runner() as runner:
        while True:
            if signals.asked:
                report.stopping()
                raise Interrupted("interrupted", "Earshot was stopped while it was starting.")
            box = runner.run(box_status(settings, memory=False))
            report.progress(box)
            if box.ready:
                return box
            page_is_up = all(one.ready for one in box.programs if one.name in _PAGE)
            for program in box.programs:
                if not patient or program.name in _PAGE:
                    _refuse_failed(program)
                elif page_is_up and program.state in _FAILED:
                    return box
            if supervisor.poll() is not None:
                raise ApplianceError(
                    "supervisor_ended", "supervisord ended while Earshot was starting.",
                    "`scripts/appliance logs supervisord` has its last words.",
                )  # fmt: skip
            if time.monotonic() > until:
                if patient and page_is_up:
                    return box
                raise _late(box)
            signals.wait(_POLL_S)


def _late(box: BoxStatus) -> TimedOut:
    late = ", ".join(program.name for program in box.programs if not program.ready)
    return TimedOut(
        "start_timed_out", f"Not ready within {_READY_WITHIN_S / 60:.0f} minutes: {late}.",
        "`scripts/appliance logs` shows what they do.",
    )  # fmt: skip


def _refuse_failed(program: ProgramStatus) -> None:
    """Raise with the reason when this program will not come up."""
    why = program.why
    if program.state not in _FAILED:
        if program.restarts < _ENOUGH_ENDS:
            return
        why = (
            f"it ended {program.restarts} times. `scripts/appliance logs {program.name}` shows why."
        )
    raise ApplianceError("program_failed", f"{program.name} could not be started: {why}")
