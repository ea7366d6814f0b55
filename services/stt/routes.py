"""The OpenAI paths for transcription and translation."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, nullcontext

from starlette.responses import JSONResponse, PlainTextResponse, Response

from appliance.errors import NotReady
from appliance.serving import APIRouter, Priority, Rank, Request, primed, stream, streamed
from appliance.serving.requests import SESSION_HEADER, priority_of
from appliance.settings import Settings
from services.stt import formats
from services.stt.engine import WhisperEngine
from services.stt.uploads import Upload, read_upload
from services.stt.vocabulary import Finished, Manner, Passage, Task, Transcribe, Transcript
from services.stt.wishes import Wish, read_wish

_LARGE_BYTES = 2_000_000
"""About a minute of plain 16 kHz sound: larger is a file, unless a call sends it."""
_LARGE_AT_ONCE = 2
_LEAST_S = 60.0
_SLOWEST_BYTES_PER_S = 1_000.0
"""Speech codecs go down to 8 kbit/s; the deadline grows with what the file can hold."""


def create_router(engine: WhisperEngine, settings: Settings) -> APIRouter:
    """Both endpoints of the ear."""
    router = APIRouter()
    large = _Few(_LARGE_AT_ONCE)

    async def heard(
        http: Request, upload: Upload, manner: Manner, priority: Priority
    ) -> AsyncGenerator[Passage | Finished, None]:
        room = http.headers.get(SESSION_HEADER, "")
        request = Transcribe(upload.audio, manner, rank=int(priority), room=room)
        deadline_s = min(
            settings.stt.max_audio_s + _LEAST_S, _LEAST_S + upload.size / _SLOWEST_BYTES_PER_S
        )
        with large.place_for(upload) if not room else nullcontext():
            chunks = stream(engine, request, http=http, rank=Rank(priority), deadline_s=deadline_s)
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def answer(http: Request, task: Task) -> Response:
        priority = priority_of(http)
        upload = await read_upload(http, settings.run_dir)
        wish = read_wish(upload.fields, task, engine.models())
        chunks = heard(http, upload, wish.manner, priority)
        if wish.streamed:
            return streamed(formats.events(await primed(chunks)), "text/event-stream")
        async with aclosing(chunks):
            return shaped(await _whole(chunks), wish)

    @router.post("/v1/audio/transcriptions")
    async def transcriptions(http: Request) -> Response:
        return await answer(http, "transcribe")

    @router.post("/v1/audio/translations")
    async def translations(http: Request) -> Response:
        return await answer(http, "translate")

    return router


async def _whole(chunks: AsyncIterator[Passage | Finished]) -> Transcript:
    passages: list[Passage] = []
    duration_s = 0.0
    async for chunk in chunks:
        if isinstance(chunk, Finished):
            duration_s = chunk.duration_s
        else:
            passages.append(chunk)
    return Transcript(tuple(passages), duration_s)


def shaped(transcript: Transcript, wish: Wish) -> Response:
    """The transcript in the format that was asked for."""
    match wish.shape:
        case "json":
            return JSONResponse(formats.brief(transcript))
        case "verbose_json":
            return JSONResponse(formats.verbose(transcript, wish.manner, words=wish.words))
        case "text":
            return PlainTextResponse(transcript.text + "\n" if transcript.text else "")
        case "srt":
            return PlainTextResponse(formats.srt(transcript), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse(formats.vtt(transcript), media_type="text/vtt")


class _Few:
    """Keeps long files from taking every worker: a caller's sentence must always find one."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    @contextmanager
    def place_for(self, upload: Upload) -> Iterator[None]:
        if upload.size <= _LARGE_BYTES:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise NotReady(
                "busy",
                "Other long recordings are being written down.",
                "Send this one again later.",
                can_retry=True,
            )
        try:
            yield
        finally:
            self._free.release()
