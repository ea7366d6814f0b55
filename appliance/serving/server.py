"""Runs an app on a unix socket that only its owner may open, and stops it quickly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from appliance import logs
from appliance.errors import ApplianceError

log = logs.get(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_JOIN_S = 0.5
"""How long workers get to end on SIGTERM, after the answers' second."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after a clean stop; the exit status is to be 0.
        yield


def serve(app: FastAPI, socket_path: Path) -> None:
    """Serve until SIGTERM or SIGINT, then exit within 2 s.

    Raises:
        ApplianceError: another process answers on this socket.
    """
    early: list[int] = []
    for number in _SIGNALS:
        # Kept until the loop is there: an exit at once could leave the socket behind.
        signal.signal(number, lambda number, _frame: early.append(number))
    listener = bind(socket_path)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 << 10,
    )
    try:
        asyncio.run(_serve(app, _Server(config), listener, early))
    finally:
        socket_path.unlink(missing_ok=True)
    if not app.state.scheduler.join(_JOIN_S):
        # A worker inside a native call (a model being loaded, a long decode) cannot be
        # interrupted; leaving by the normal road would tear its library down under it.
        log.info("worker_left_behind")
        sys.stdout.flush()
        os._exit(0)


async def _serve(
    app: FastAPI, server: uvicorn.Server, listener: socket.socket, early: list[int]
) -> None:
    def stop() -> None:
        app.state.scheduler.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    if early:
        listener.close()
        return
    await server.serve(sockets=[listener])


def bind(path: Path) -> socket.socket:
    """Listen on a unix socket with mode 0600, taking over one that nobody answers.

    Raises:
        ApplianceError: another process answers there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        else:
            raise ApplianceError(
                "already_running", f"Another process already serves {path.name}.",
                "`scripts/appliance down` stops it.",
            )  # fmt: skip
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(old_mask)
    listener.setblocking(False)
    listener.listen(128)
    return listener
