"""Caddy as a child process, and a panel behind it that answers with what it saw."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.rendering import programs
from appliance.settings import Settings, sealed_environment
from tests.waiting import until

CUT = "/cut"


class _Panel(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers every request with what it saw."""

    daemon_threads = True


class _Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        # A promise that is not kept is one of the few things that Caddy writes down.
        missing = 10 if self.path.startswith(CUT) else 0
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def address_string(self) -> str:
        return "panel"

    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Running:
    """A program that runs, and what it writes."""

    pid: int
    log: Path


@contextmanager
def echo_panel(settings: Settings) -> Iterator[None]:
    """The panel's socket, behind which every request is told what it was."""
    path = settings.socket("panel")
    with _Panel(str(path), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


@contextmanager
def running(settings: Settings, name: str, ready: Callable[[], object]) -> Iterator[Running]:
    """A program of the box, from its rendered configuration, until it is ready and then killed."""
    command = next(program.command for program in programs(settings) if program.name == name)
    log = settings.data_dir / f"{name}.log"
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command, env=sealed_environment(), stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or ready(), 20, name)
            assert process.poll() is None, log.read_text()
            yield Running(process.pid, log)
        finally:
            process.kill()


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens, each another one."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found
