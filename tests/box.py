"""The whole box on its own ports and folder, started and stopped as its owner does."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from appliance.secrets import local_token
from appliance.settings import PROJECT_DIR, Settings
from appliance.status import BoxStatus, box_status
from appliance.supervision import members, supervisor_of

START_S = 180
_LOOK_S = 0.1
PROGRAMS = ("livekit", "stt", "llm", "tts", "agent", "panel", "front", "front-spare")


def _free_ports(count: int) -> list[int]:
    # Held together until all are known, or the same one could be given twice.
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@dataclass
class Box:
    """A running box. ``settings`` are those its programs see."""

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """Put before each command, e.g. one that enters a network namespace."""

    def __post_init__(self) -> None:
        self._password = ""
        http, livekit, tcp, udp, health, self.other_port = _free_ports(6)
        self.environment = {
            **os.environ,
            "APPLIANCE_DATA_DIR": str(self.folder / "data"),
            "APPLIANCE_FRONT__HTTP_PORT": str(http),
            "APPLIANCE_LIVEKIT__PORT": str(livekit),
            "APPLIANCE_LIVEKIT__TCP_PORT": str(tcp),
            "APPLIANCE_LIVEKIT__UDP_PORT": str(udp),
            "APPLIANCE_AGENT__HEALTH_PORT": str(health),
            # Another site on this machine, whose pages may use the API with a key.
            "APPLIANCE_FRONT__CORS_ORIGINS": json.dumps([f"http://localhost:{self.other_port}"]),
            **self.extra,
        }
        self.settings = Settings(
            data_dir=self.folder / "data",
            front={"http_port": http},
            livekit={"port": livekit, "tcp_port": tcp, "udp_port": udp},
            agent={"health_port": health},
        )
        self.url = f"http://localhost:{http}"

    def command(
        self, *arguments: str | Path, timeout_s: float = START_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `appliance` with these arguments against this box."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "appliance.cli", *map(str, arguments)],
            env=self.environment, cwd=PROJECT_DIR, text=True, capture_output=True,
            timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def token(self) -> str:
        """What the command on the box signs in with."""
        return local_token(self.settings)

    @property
    def auth(self) -> dict[str, str]:
        """The same as a header."""
        return {"Authorization": f"Bearer {self.token}"}

    def set_up_link(self) -> str:
        """Forget the password; returns the link that sets a new one."""
        self._password = ""
        said = self.command("admin", "reset").stdout.split()
        # The first is for this machine, where nothing keeps a browser from signing in.
        return next(word for word in said if "/set-up" in word)

    def sign_in(self) -> list[dict[str, str]]:
        """Sign in as its owner, after setting the password if need be.

        Returns:
            The cookies, as Playwright's ``add_cookies`` takes them.
        """
        if not self._password:
            link = self.set_up_link()
            self._password = secrets.token_urlsafe(12)
            form = {"code": link.partition("code=")[2], "again": self._password}
            where = "/set-up"
        else:
            form, where = {"next": "/"}, "/sign-in"
        answer = httpx.post(
            self.url + where, data={**form, "password": self._password}, trust_env=False,
            headers={"Origin": self.url}, timeout=30,
        )  # fmt: skip
        assert answer.status_code == 303, answer.text
        return [{"name": k, "value": v, "url": self.url} for k, v in answer.cookies.items()]

    def start(self) -> str:
        """Start it detached and wait until it is ready; returns what was printed."""
        done = self.command("run", "--detach")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def stop(self) -> None:
        """Stop it; nothing of it may be left."""
        done = self.command("down", timeout_s=60)
        left = [f"{p.pid} {p.name()}" for p in members(self.settings.run_dir)]
        assert done.returncode == 0, done.stderr
        assert not left, f"left behind: {left}"

    def status(self) -> dict[str, Any]:
        """`status --json`, whether ready or not."""
        answer: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return answer

    def wait_ready(self, timeout_s: float = 90) -> None:
        """Wait until every program is ready; asked from here, where the command takes a second."""
        deadline = time.monotonic() + timeout_s
        # In a thread of its own: a test with a browser has a running loop.
        with ThreadPoolExecutor(1) as asking:
            while not (status := asking.submit(self._status).result()).ready:
                assert time.monotonic() < deadline, f"not ready: {status}\n{self.logs()}"
                time.sleep(_LOOK_S)

    def _status(self) -> BoxStatus:
        return asyncio.run(box_status(self.settings, memory=False))

    def pid(self, program: str) -> int:
        """The supervised process of this program."""
        return supervisor_of(self.settings).process(program).pid

    def kill(self, program: str) -> None:
        """Kill -9, as a crash would."""
        psutil.Process(self.pid(program)).kill()

    def call(
        self, *arguments: str | Path, timeout_s: float = 300, codes: tuple[int, ...] = (0,)
    ) -> dict[str, Any]:
        """`call --json` with these recordings; must exit with one of ``codes``."""
        done = self.command("call", "--json", *arguments, timeout_s=timeout_s)
        assert done.returncode in codes, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def logs(self, lines: int = 15) -> str:
        """The end of every log, for a failed test's report."""
        parts = []
        for path in sorted((self.settings.data_dir / "logs").glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(parts)


def running_box(folder: Path, **extra: str) -> Iterator[Box]:
    """A box for as long as a fixture lives."""
    box = Box(folder, extra)
    try:
        box.start()
        yield box
    finally:
        box.stop()
