"""The panel as a function of its settings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from appliance import __version__
from appliance.secrets import browser_key, link_key, livekit_keys, local_token
from appliance.settings import Settings
from appliance.store import open_store
from services.panel import (
    answers,
    box,
    doctor,
    events,
    farewell,
    internal,
    latency,
    pages,
    settings_page,
)
from services.panel.access.gate import Gate, check_same_route
from services.panel.access.signing import Signing
from services.panel.api import audit as audit_api
from services.panel.api import backups as backups_api
from services.panel.api import box as box_api
from services.panel.api import calls as calls_api
from services.panel.api import doctor as doctor_api
from services.panel.api import guest, health, links, livekit, openapi, sessions, speech
from services.panel.api import keys as keys_api
from services.panel.api import models as models_api
from services.panel.api import personas as personas_api
from services.panel.api import proof as proof_api
from services.panel.api import settings as settings_api
from services.panel.backups.office import Backups
from services.panel.calls import Clock
from services.panel.cors import Cors
from services.panel.desk import Desk
from services.panel.guard import Guard
from services.panel.guests import Guests
from services.panel.measuring import Measuring
from services.panel.models.office import Office, make_office
from services.panel.pages import access as access_page
from services.panel.pages import account, devices, home, join, sign_in, talk
from services.panel.pages import audit as audit_page
from services.panel.pages import backups as backups_page
from services.panel.pages import calls as calls_page
from services.panel.pages import doctor as doctor_page
from services.panel.pages import keys as keys_page
from services.panel.pages import models as models_page
from services.panel.pages import personas as personas_pages
from services.panel.pages import proof as proof_page
from services.panel.pages import settings as settings_form
from services.panel.pages import speed as speed_page
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
    models: Callable[..., Office] = make_office,
) -> FastAPI:
    """The whole panel.

    Args:
        settings: the box's.
        rooms: makes the media server's client, inside the running loop.
        status: who says whether the box is ready.
        clock: seconds that only go forward.
        watching: whether the repair loop runs; a test may take its steps itself.
        models: makes what fetches, keeps and changes models.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = await asyncio.to_thread(open_store, settings)
        app.state.store, app.state.latency = store, latency.Latency(store)
        token = await asyncio.to_thread(local_token, settings)
        app.state.gate = Gate(app, settings, store, token)
        seal = await asyncio.to_thread(browser_key, settings)
        app.state.signing = Signing(settings, store, seal)
        app.state.services = Services(settings)
        desk = Desk(settings, store, rooms(settings), clock)
        # Before the first caller, who would wait for it.
        await desk.queue.line()
        app.state.guests = Guests(await asyncio.to_thread(link_key, settings), clock)
        watch = Watch(desk)
        app.state.desk, app.state.watch = desk, watch
        app.state.purge = purge = Purge(settings, store)
        app.state.backups = backups = Backups(settings, store)
        sampler = box.install(app, settings)
        app.state.models = office = models(settings, store, app.state.services, app.state.bus)
        app.state.switcher = office.switcher
        app.state.farewell = goodbye = farewell.Farewell(desk)
        app.state.readiness.pause = lambda: goodbye.pause or office.switcher.pause
        app.state.measuring = measuring = Measuring(settings, desk, app.state.readiness)
        await asyncio.gather(measuring.open(), office.open())
        loops = (watch.run(), purge.run(), sampler.run(), backups.run()) if watching else ()
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(measuring.close(), office.close())
            await app.state.services.close()
            await app.state.digests.close()
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
    settings_page.install(app, settings)
    doctor.install(app, settings)
    answers.install(app)
    for module in (openapi, keys_api, audit_api, account, keys_page, audit_page):
        app.include_router(module.router)
    for module in (models_api, models_page, backups_api, backups_page):
        app.include_router(module.router)
    for module in (guest, links, livekit, access_page, join, devices):
        app.include_router(module.router)
    for module in (
        doctor_api,
        doctor_page,
        proof_api,
        proof_page,
        settings_api,
        settings_form,
        health,
        sessions,
        calls_api,
        calls_page,
        speech,
        personas_api,
        personas_pages,
        events,
        box_api,
        sign_in,
        home,
        talk,
        internal,
        latency,
        speed_page,
        farewell,
    ):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static", check_dir=False))
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Cors, settings=settings)
    return app
