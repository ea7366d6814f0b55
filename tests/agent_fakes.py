"""Model services, a voice detector and a session that do what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from livekit import rtc
from livekit.agents import vad
from multidict import CIMultiDictProxy

from services.agent.apology import LAST_WORDS

WAIT_S = 30.0
Handler = Callable[[web.Request], Any]


async def until(true: Callable[[], Any]) -> None:
    """Wait for a condition, at most ``WAIT_S``."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    socket: Path, path: str, handler: Handler, raised: list[str] | None = None
) -> AsyncIterator[None]:
    """One POST route on a unix socket; a client that leaves cancels its handler.

    Attempts that are made live are added to ``raised``.
    """
    app = web.Application()
    app.router.add_post(path, handler)

    async def live(request: web.Request) -> web.Response:
        (raised if raised is not None else []).append(request.match_info["attempt"])
        return web.Response(status=204)

    app.router.add_post("/v1/attempts/{attempt}/live", live)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


class FakeStt:
    """An stt service: answers with ``text``, after ``go`` is set."""

    def __init__(self) -> None:
        self.text = "Hello there."
        self.status = 200
        self.asked: list[str] = []
        self.sessions: list[str] = []
        self.gone: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, request: web.Request) -> web.Response:
        priority = request.headers["X-Earshot-Priority"]
        self.asked.append(priority)
        self.sessions.append(request.headers["X-Earshot-Session"])
        await request.post()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.gone.append(priority)
            raise
        return web.json_response({"text": self.text}, status=self.status)


class FakeLlm:
    """An llm service that streams ``words`` and keeps what it was asked."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[CIMultiDictProxy[str]] = []
        self.breaks_after: int | None = None
        self.gone: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.gone.append(request.headers["X-Earshot-Priority"])
            raise
        for number, word in enumerate(self.words):
            if number == self.breaks_after:
                assert request.transport is not None
                request.transport.abort()
                return answer
            chunk = {
                "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
            }  # fmt: skip
            await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer


class FakeTts:
    """A tts service: a tenth of a second of tone for each piece of text."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.headers: list[CIMultiDictProxy[str]] = []
        self.sound = b"\x00\x10\x00\xf0" * 1200
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        self.texts.append((await request.json())["input"])
        return web.Response(body=self.sound, status=self.status)


class FakeDetector(vad.VAD):
    """A voice detector whose windows the test writes."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.032))
        self.streams: list[FakeWindows] = []

    @property
    def min_silence_duration(self) -> float:
        return 0.25

    def stream(self) -> vad.VADStream:
        self.streams.append(FakeWindows(self))
        return self.streams[-1]


class FakeWindows(vad.VADStream):
    """One stream of the fake detector."""

    def __init__(self, detector: FakeDetector) -> None:
        super().__init__(detector)
        self.silence_s = 0.0
        self.frames: list[rtc.AudioFrame] = []

    async def _main_task(self) -> None:
        async for frame in self._input_ch:
            if isinstance(frame, rtc.AudioFrame):
                self.frames.append(frame)

    def start(self) -> None:
        """The caller begins to speak."""
        self.silence_s = 0.0
        self._tell(vad.VADEventType.START_OF_SPEECH)

    def voiced(self, windows: int = 1) -> None:
        """Windows of voice."""
        for _ in range(windows):
            self._tell(vad.VADEventType.INFERENCE_DONE, probability=0.9)
            self.silence_s = 0.0

    def silent(self, windows: int = 1) -> None:
        """Windows of silence."""
        for _ in range(windows):
            self._tell(vad.VADEventType.INFERENCE_DONE, probability=0.01)
            self.silence_s += 0.032

    def end(self, voiced_s: float = 1.5) -> None:
        """The pause is long enough."""
        self._tell(vad.VADEventType.END_OF_SPEECH, speech_s=voiced_s)

    def _tell(
        self, kind: vad.VADEventType, probability: float = 0.0, speech_s: float = 0.0
    ) -> None:
        frame = rtc.AudioFrame(b"\0\0" * 512, 16000, 1, 512)
        self._event_ch.send_nowait(
            vad.VADEvent(
                type=kind, samples_index=0, timestamp=0.0, speech_duration=speech_s,
                silence_duration=self.silence_s, frames=[frame], probability=probability,
                raw_accumulated_silence=self.silence_s,
            )
        )  # fmt: skip


class FakeHandle:
    """A speech handle that is done when the test says so."""

    def __init__(self) -> None:
        self.scheduled = True
        self.interrupted = False
        self.callbacks: list[Callable[[Any], None]] = []
        self.is_done = False

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callbacks.append(callback)

    def done(self) -> bool:
        return self.is_done

    def finish(self) -> None:
        """The speech is over."""
        self.is_done = True
        for callback in self.callbacks:
            callback(self)


class FakeSession(rtc.EventEmitter[Any]):
    """A session's events, and what was said without the model."""

    def __init__(self) -> None:
        super().__init__()
        self.agent_state = "listening"
        self.user_state = "listening"
        self.current_speech: FakeHandle | None = None
        self.said: list[str] = []
        self.handles: list[FakeHandle] = []

    def say(
        self, text: str, *, audio: Any, allow_interruptions: bool, add_to_chat_ctx: bool
    ) -> FakeHandle:
        assert not add_to_chat_ctx
        assert audio is not None
        # The call ends with these.
        assert allow_interruptions == (text not in {line.words for line in LAST_WORDS})
        self.said.append(text)
        self.handles.append(FakeHandle())
        return self.handles[-1]
