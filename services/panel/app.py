"""The panel as a function of its settings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from appliance import __version__
from appliance.secrets import livekit_keys, local_token
from appliance.settings import Settings
from appliance.store import open_store
from services.panel import answers, events, internal, pages
from services.panel.access.gate import Gate, check_same_route
from services.panel.api import calls as calls_api
from services.panel.api import health, sessions, speech
from services.panel.calls import Clock
from services.panel.desk import Desk
from services.panel.guard import Guard
from services.panel.pages import home, talk
from services.panel.purge import Purge
from services.panel.readiness import Readiness, StatusSource, status_of
from services.panel.rooms import LiveKitRooms, Rooms
from services.panel.speech.services import Services
from services.panel.watch import Watch

RoomsMaker = Callable[[Settings], Rooms]


def livekit_rooms(settings: Settings) -> Rooms:
    """The rooms of the box's livekit-server, or of the one it is told to use."""
    keys = livekit_keys(settings)
    return LiveKitRooms(
        settings.livekit_http_url, keys, settings.livekit.token_ttl_s, settings.socket("agent")
    )


def create_app(
    settings: Settings,
    *,
    rooms: RoomsMaker = livekit_rooms,
    status: StatusSource | None = None,
    clock: Clock = time.monotonic,
    watching: bool = True,
) -> FastAPI:
    """The whole panel.

    Args:
        settings: the box's.
        rooms: makes the media server's client, inside the running loop.
        status: who says whether the box is ready.
        clock: seconds that only go forward.
        watching: whether the repair loop runs; a test may take its steps itself.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(open_store, settings)
        app.state.store = store
        token = await asyncio.to_thread(local_token, settings)
        app.state.gate = Gate(app, settings, store, token)
        app.state.services = Services(settings)
        desk = Desk(settings, store, rooms(settings), clock)
        watch = Watch(desk)
        app.state.desk, app.state.watch = desk, watch
        app.state.purge = purge = Purge(settings, store)
        loops = (watch.run(), purge.run()) if watching else ()
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await app.state.services.close()
            await desk.rooms.close()
            await asyncio.to_thread(store.close)

    # FastAPI's own documentation pages load scripts from the internet.
    app = FastAPI(
        title="Earshot", version=__version__, lifespan=lifespan,
        docs_url=None, redoc_url=None, openapi_url=None,
        dependencies=[Depends(check_same_route)],
    )  # fmt: skip
    app.state.settings = settings
    app.state.bus = events.Bus()
    app.state.readiness = Readiness(status or status_of(settings))
    answers.install(app)
    for module in (health, sessions, calls_api, speech, events, home, talk, internal):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static", check_dir=False))
    app.add_middleware(Guard, settings=settings)
    return app
