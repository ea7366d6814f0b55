"""Where a recording is while it is written down, and who must wait when many come."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
import pytest

from appliance.serving import Engine, create_app
from appliance.settings import Settings
from services.stt.engine import WhisperEngine
from services.stt.routes import create_router
from services.stt.vocabulary import Finished, Passage, Transcribe
from tests.fakes import WAIT_S
from tests.waiting import eventually

pytestmark = pytest.mark.unit

PATH = "/v1/audio/transcriptions"
SENTENCE = bytes(7 << 20)
LONG_FILE = bytes(9 << 20)
LARGE = bytes(3 << 20)


class Held(Engine[Transcribe, Passage | Finished]):
    """An ear that notes where each recording lies, and holds it until it may go on."""

    name: ClassVar[str] = "stt"
    concurrency = 6

    def __init__(self) -> None:
        self.places: list[str] = []
        self.go = threading.Event()

    def models(self) -> list[str]:
        """One that is not there."""
        return ["none"]

    def _load(self) -> None:
        return

    def _sample(self) -> None:
        return

    def _run(self, request: Transcribe, stop: threading.Event) -> Iterator[Passage | Finished]:
        with request.audio:
            audio: Any = request.audio
            opened = Path(f"/proc/self/fd/{audio.fileno()}") if audio._rolled else None
            self.places.append(str(opened.readlink()) if opened else "")
            self.go.wait(WAIT_S)
            yield Finished(1.0)


class Service:
    """The ear's own paths around it."""

    def __init__(self, settings: Settings) -> None:
        self.engine = Held()
        router = create_router(cast("WhisperEngine", self.engine), settings)
        self.app = create_app(self.engine, router, settings, max_body_bytes=64 << 20)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://stt"
        )

    async def send(self, sound: bytes, **headers: str) -> httpx.Response:
        """Ask for a transcript."""
        return await self.http.post(PATH, files={"file": ("a.wav", sound)}, headers=headers)


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service whose system folder for temporary files is empty and watched."""
    system = tmp_path / "system"
    system.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    settings = Settings(data_dir=tmp_path / "data")
    settings.run_dir.mkdir(parents=True, mode=0o700)
    service = Service(settings)
    async with service.app.router.lifespan_context(service.app), service.http:
        yield service
        service.engine.go.set()


async def test_what_a_caller_says_stays_in_memory(service: Service) -> None:
    service.engine.go.set()
    assert (await service.send(SENTENCE)).status_code == 200
    assert service.engine.places == [""]


async def test_a_long_file_lies_nameless_in_the_owners_folder(
    service: Service, tmp_path: Path
) -> None:
    service.engine.go.set()
    assert (await service.send(LONG_FILE)).status_code == 200
    (place,) = service.engine.places
    run = tmp_path / "data" / "run"
    assert place.startswith(f"{run}/")
    assert place.endswith("(deleted)")
    assert list(run.iterdir()) == []


async def test_a_call_never_waits_behind_long_files(service: Service) -> None:
    waiting = [asyncio.create_task(service.send(LARGE)) for _ in range(2)]
    await eventually(lambda: asyncio.sleep(0, len(service.engine.places) == 2))
    third = await service.send(LARGE)
    assert (third.status_code, third.json()["error"]["code"]) == (503, "busy")
    call = asyncio.create_task(service.send(LARGE, **{"X-Earshot-Session": "s1"}))
    await eventually(lambda: asyncio.sleep(0, len(service.engine.places) == 3 or call.done()))
    service.engine.go.set()
    assert (await call).status_code == 200
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_form_that_cannot_be_read_is_bad_input(service: Service) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"nonsense", b"--x\r\nContent-Disposition: form-data\r\n\r\nhi\r\n--x--\r\n"):
        answer = await service.http.post(PATH, content=body, headers=kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
