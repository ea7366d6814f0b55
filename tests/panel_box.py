"""livekit-server and the panel as real child processes on ports of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from livekit import api

from appliance.addresses import find_node_ip
from appliance.rendering import caddyfile, livekit_yaml, write_private
from appliance.secrets import livekit_keys, local_token
from appliance.setting_groups import FrontSettings, LiveKitSettings
from appliance.settings import PROJECT_DIR, Settings, sealed_environment
from tests.waiting import eventually

SESSIONS = "/api/v1/sessions"
# As `python -m services.panel`, but a box of which only the panel and LiveKit run is ready enough.
_PANEL = """
from appliance.settings import seal_environment
seal_environment()
from appliance.status import BoxStatus
from services.panel import __main__, app, readiness
async def ready(): return BoxStatus(True, ())
readiness.status_of = app.status_of = lambda settings: ready
__main__.main()
"""


class Box:
    """livekit-server and the panel, each a child process that can be killed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._livekit: subprocess.Popen[bytes] | None = None
        self._panel: subprocess.Popen[bytes] | None = None
        self._front: subprocess.Popen[bytes] | None = None
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(settings.socket("panel"))),
            base_url=settings.front_url, headers=self.auth, timeout=30,
        )  # fmt: skip
        keys = livekit_keys(settings)
        self.session = aiohttp.ClientSession(trust_env=False)
        self.livekit = api.LiveKitAPI(
            settings.livekit_http_url, keys.api_key, keys.api_secret, session=self.session
        )

    @property
    def auth(self) -> dict[str, str]:
        """The header that the command on the box sends."""
        return {"Authorization": f"Bearer {local_token(self.settings)}"}

    async def start_livekit(self) -> None:
        """Start it and wait until it answers."""
        server = self.settings.programs_dir / "livekit-server"
        config = self.settings.run_dir / "livekit.yaml"
        self._livekit = self._start([str(server), "--config", str(config)], "livekit")

        async def answers() -> bool:
            try:
                async with self.session.get(self.settings.livekit_http_url) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers, what="livekit-server")

    async def start_panel(self) -> None:
        """Start it and wait until it answers."""
        self._panel = self._start([sys.executable, "-c", _PANEL], "panel")

        async def answers() -> bool:
            try:
                return (await self.http.get("/healthz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers, 45, "the panel")

    async def start_front(self) -> None:
        """Start Caddy and wait until it answers."""
        run = self.settings.run_dir
        write_private(run / "front.caddyfile", caddyfile(self.settings, "front"))
        caddy = str(self.settings.programs_dir / "caddy")
        command = [caddy, "run", "--adapter", "caddyfile", "--config", str(run / "front.caddyfile")]
        self._front = self._start(command, "front")

        async def answers() -> bool:
            try:
                async with self.session.get(f"{self.settings.front_url}/front/healthz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers, what="the front door")

    @property
    def panel_pid(self) -> int:
        """The panel's process."""
        assert self._panel is not None
        return self._panel.pid

    def kill_livekit(self) -> None:
        """As kill -9."""
        self._kill(self._livekit)

    def kill_panel(self) -> None:
        """As kill -9."""
        self._kill(self._panel)

    def stop_panel(self) -> int:
        """SIGTERM, and the exit status."""
        assert self._panel is not None
        self._panel.terminate()
        return self._panel.wait(45)

    async def open(self) -> dict[str, Any]:
        """Open a call."""
        answer = await self.http.post(SESSIONS, json={"caller_name": "Ann"})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def rooms(self) -> set[str]:
        """Rooms that livekit-server has."""
        found = await self.livekit.room.list_rooms(api.ListRoomsRequest())
        return {room.name for room in found.rooms}

    async def dispatches(self, room: str) -> list[dict[str, Any]]:
        """What our agents were told that were sent to this room."""
        return [json.loads(one.metadata) for one in await self.sent(room)]

    async def sent(self, room: str) -> list[api.AgentDispatch]:
        """Our agents that were sent to this room, as livekit-server keeps them."""
        found = await self.livekit.agent_dispatch.list_dispatch(room)
        # A room without agents has one for workers without a name, of which there are none.
        return [one for one in found if one.agent_name == "appliance"]

    async def close(self) -> None:
        """End both."""
        for process in (self._front, self._panel, self._livekit):
            self._kill(process)
        await self.http.aclose()
        await self.session.close()

    def _start(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        environment = {**sealed_environment(), "APPLIANCE_DATA_DIR": str(self.settings.data_dir)}
        environment |= {
            "APPLIANCE_LIVEKIT__PORT": str(self.settings.livekit.port),
            "APPLIANCE_LOG_LEVEL": "debug",
            "APPLIANCE_FRONT__HTTP_PORT": str(self.settings.front.http_port),
        }
        with (self.settings.data_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=PROJECT_DIR, env=environment, stdout=log, stderr=log
            )

    def _kill(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(30)


@asynccontextmanager
async def running_box(data_dir: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """Both programs on ports of their own."""
    settings = Settings(
        data_dir=data_dir,
        front=FrontSettings(http_port=free_port()),
        livekit=LiveKitSettings(
            port=free_port(), tcp_port=free_port(), udp_port=free_port(), node_ip=find_node_ip()
        ),
    )
    settings.run_dir.mkdir(parents=True, mode=0o700)
    write_private(settings.run_dir / "livekit.yaml", livekit_yaml(settings))
    box = Box(settings)
    try:
        await box.start_livekit()
        await box.start_panel()
        yield box
    finally:
        await box.close()
