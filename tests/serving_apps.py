"""Serves an app on a unix socket inside the test's own loop, as uvicorn serves the box's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from appliance.serving.server import bind
from tests.waiting import eventually


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """The test keeps its own."""


@asynccontextmanager
async def served(app: ASGIApp, socket: Path) -> AsyncIterator[None]:
    """Serve until the end of the block; the app's lifespan is the caller's affair."""
    listener = bind(socket)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)

    async def started() -> bool:
        return server.started

    running = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        await eventually(started)
        yield
    finally:
        server.should_exit = True
        await running
        socket.unlink(missing_ok=True)
