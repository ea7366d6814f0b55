"""LiveKit's production worker: keeps processes warm, takes calls, says whether it is ready."""

from __future__ import annotations

import asyncio
import math
import signal
from collections import deque
from typing import Any

from aiohttp import web
from livekit.agents import AgentServer, JobExecutorType, JobRequest

from appliance import logs
from appliance.seats import seats_of
from appliance.secrets import livekit_keys
from appliance.settings import Settings
from services.agent import job

log = logs.get(__name__)

# The server gives no job to a worker at or over its target load of 0.7.
_FULL = 0.701
# The panel counts the seats, and a job may outlive its seat by its last words. Only a mistake
# of ours sends more jobs than this many for each seat.
_JOBS_PER_SEAT = 2


_REMEMBERED = 256


class Worker(AgentServer):
    """Remembers which dispatches it took, for LiveKit says so up to five seconds later."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.taken: deque[str] = deque(maxlen=_REMEMBERED)

    async def accept(self, request: JobRequest) -> None:
        """Take the call."""
        self.taken.append(request.job.dispatch_id)
        await job.accept(request)


def make_server(settings: Settings) -> Worker:
    """The worker, not yet running."""
    keys = livekit_keys(settings)
    seats = seats_of(settings).count
    server = Worker(
        ws_url=settings.livekit_url,
        api_key=keys.api_key,
        api_secret=keys.api_secret,
        job_executor_type=JobExecutorType.PROCESS,
        num_idle_processes=settings.agent.idle_processes,
        initialize_process_timeout=60,
        load_fnc=lambda server: load_of(len(server.active_jobs), seats),
        # With a limit of its own the worker counts each job that it has accepted and not yet
        # started as one part in num_idle_processes of that limit, and refuses the third of
        # several callers who come at once. LiveKit offers a dispatch only once.
        load_threshold=math.inf,
        drain_timeout=settings.agent.drain_s,
        session_end_timeout=10,
        http_proxy=None,
        host="127.0.0.1",
        port=settings.agent.health_port,
        max_retry=1_000_000,
        preload_modules=["services.agent.job"],
        setup_fnc=job.prepare,
    )
    server.rtc_session(
        job.hold_call,
        agent_name=job.AGENT_NAME,
        on_request=server.accept,
        on_session_end=job.end_call,
    )
    return server


def load_of(jobs: int, seats: int) -> float:
    """What LiveKit is told, so that it sends none to a worker with far too many jobs."""
    return _FULL * jobs / (_JOBS_PER_SEAT * seats)


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then let calls finish for a while and stop.

    Raises:
        OSError: the health port or the socket cannot be had.
    """
    server = make_server(settings)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    answering = await _answer_ready(server, settings)
    working = asyncio.create_task(server.run(devmode=False), name="worker.run")
    waiting = asyncio.create_task(told.wait(), name="worker.wait")
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return
        try:
            await server.drain()
        except TimeoutError:
            log.info("calls_cut", why="they did not end in time")
        await server.aclose()
        await working
    finally:
        waiting.cancel()
        await answering.cleanup()


async def _answer_ready(server: Worker, settings: Settings) -> web.AppRunner:
    app = web.Application()

    async def readyz(_request: web.Request) -> web.Response:
        why = why_not_ready(server)
        body = {"ready": not why, "state": "ready" if not why else "loading", "why": why}
        return web.json_response(body, status=503 if why else 200)

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def dispatch(request: web.Request) -> web.Response:
        taken = request.match_info["id"] in server.taken
        return web.json_response({"taken": taken}, status=200 if taken else 404)

    app.router.add_get("/readyz", readyz)
    app.router.add_get("/dispatches/{id}", dispatch)
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    path = settings.socket("agent")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    await web.UnixSite(runner, str(path)).start()
    path.chmod(0o600)
    return runner


def why_not_ready(server: AgentServer) -> str:
    """Why no call can be taken now, in a sentence; empty if one can."""
    # The framework's own health page says OK while it is not registered.
    if server.id == "unregistered" or server._connecting:  # noqa: SLF001
        return "The agent is not registered with LiveKit yet."
    if server.draining:
        return "The agent is stopping."
    warm = not server._proc_pool._warmed_proc_queue.empty()  # noqa: SLF001
    if not warm and not server.active_jobs:
        return "No call process is warm yet."
    return ""
