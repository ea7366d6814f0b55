"""The real panel app in a test: fake rooms, a manual clock, a data folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from appliance.secrets import local_token
from appliance.settings import Settings
from appliance.status import BoxStatus, ProgramStatus
from appliance.store import Session, Store
from services.panel.access.doors import Doors
from services.panel.app import create_app
from services.panel.calls import Job
from services.panel.desk import Desk
from services.panel.models.office import Office, make_office
from services.panel.watch import Watch
from tests.fakes_livekit import FakeRooms, ManualClock
from tests.waiting import eventually

SESSIONS = "/api/v1/sessions"


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until this holds."""

    async def ask() -> object:
        return condition()

    await eventually(ask)


@dataclass
class Panel:
    """A running panel and everything around it."""

    app: FastAPI
    rooms: FakeRooms
    clock: ManualClock
    status: dict[str, str]
    http: httpx.AsyncClient

    @property
    def desk(self) -> Desk:
        """Its desk."""
        desk: Desk = self.app.state.desk
        return desk

    @property
    def store(self) -> Store:
        """Its store."""
        return self.desk.store

    @property
    def watch(self) -> Watch:
        """Its repair loop, which takes a step when told to."""
        watch: Watch = self.app.state.watch
        return watch

    async def open(self, **body: Any) -> Session:
        """Open a call through the API."""
        answer = await self.http.post(SESSIONS, json=body)
        assert answer.status_code == 201, answer.text
        return self.store.sessions.get(answer.json()["session_id"])

    async def talk(self) -> Session:
        """Open a call whose caller and first agent are in the room."""
        session = await self.open()
        self.rooms.join(session.room_name, f"caller-{session.id}")
        self.rooms.join(session.room_name, "agent-1")
        await self.watch.step()
        return session

    def state(self, session: Session) -> tuple[str, str]:
        """State and reason of a call, as stored."""
        found = self.store.sessions.get(session.id)
        return found.state, found.reason


async def wait(panel: Panel, seconds: float, step: float = 0.5) -> None:
    """Let time pass as the loop would see it."""
    for _ in range(round(seconds / step)):
        panel.clock.advance(step)
        await panel.watch.step()


async def held(panel: Panel) -> tuple[Session, Job]:
    """A talk whose agent holds its stream."""
    session = await panel.talk()
    job = Job(1, "agent-1")
    await panel.desk.job_began(session.id, job)
    await panel.watch.step()
    return session, job


async def die(panel: Panel, session: Session, job: Job) -> None:
    call = panel.desk.book.get(session.id)
    assert call is not None
    await panel.desk.job_ended(call, job)


def box_settings(data_dir: Path, **changes: Any) -> Settings:
    """Settings of a box with its own data folder."""
    return Settings(data_dir=data_dir, **changes)


@asynccontextmanager
async def running_panel(
    settings: Settings, *, watching: bool = False, models: Callable[..., Office] = make_office
) -> AsyncIterator[Panel]:
    """Start the real app, without its loop unless asked; ``models`` may fake its reach."""
    rooms, clock = FakeRooms(), ManualClock()
    waiting: dict[str, str] = {}

    async def status() -> BoxStatus:
        names = ("livekit", "stt", "llm", "tts", "agent", "panel", "front", "front-spare")
        programs = tuple(
            ProgramStatus(
                name=name, state="loading" if name in waiting else "ready",
                ready=name not in waiting, why=waiting.get(name, ""),
                uptime_s=1, restarts=0, memory_mb=1,
            )
            for name in names
        )  # fmt: skip
        return BoxStatus(not waiting, programs)

    app = create_app(
        settings, rooms=lambda _settings: rooms, status=status, clock=clock, watching=watching,
        models=models,
    )  # fmt: skip
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url=f"http://localhost:{settings.front.http_port}",
            headers={"Authorization": f"Bearer {local_token(settings)}", "X-Earshot-Client": "1"},
        ) as http,
    ):
        yield Panel(app, rooms, clock, waiting, http)


def stranger(panel: Panel, **headers: str) -> httpx.AsyncClient:
    """Somebody who has not signed in, as a browser on this machine."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=panel.app), base_url=str(panel.http.base_url),
        headers={"X-Earshot-Client": "1", **headers},
    )  # fmt: skip


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and template of everything the app serves."""
    return list(Doors(app))
