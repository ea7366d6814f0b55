"""What of an answer has been played: it can be stopped and taken up again at the same sample."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.utils import is_given
from livekit.agents.voice import io

from services.agent.heard import Piece, heard_of, sentence_end_after

_STEP_S = 0.05
# A sentence ends in a breath; one that is stopped late lets the next one's first sound out.
_BREATH_S = 0.06
# Going on in the middle of a sound is hard to understand: a syllable is said again.
_TAKE_UP_S = 0.15


@dataclass
class _Segment:
    """One stretch of sound between two flushes. Positions are in seconds from its start."""

    rate_hz: int
    channels: int
    sound: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[float, str]] = field(default_factory=list)
    ended: bool = False
    cut: bool = False
    announced: bool = False
    # The run: what the sink was given since it was last empty.
    base_s: float = 0.0
    sent: int = 0
    open: bool = False
    flushed: bool = False
    started: float | None = None

    def seconds(self, size: int) -> float:
        return size / 2 / self.channels / self.rate_hz

    def size(self, seconds: float) -> int:
        return round(seconds * self.rate_hz) * 2 * self.channels

    @property
    def length_s(self) -> float:
        return self.seconds(len(self.sound))


class Playout(io.AudioOutput):
    """Stands before the sink and keeps each answer's sound until it is over.

    ``pause`` empties the sink at once; ``resume`` goes on where it stopped, with nothing lost.

    Args:
        sink: what plays; it is paused only through this.
        clock: goes on while sound is played, in seconds.
    """

    def __init__(self, sink: io.AudioOutput, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            label="playout",
            capabilities=io.AudioOutputCapabilities(pause=True),
            next_in_chain=sink,
        )
        # The framework may have put a place of its own between.
        self._sink = self.next_in_chain or sink
        self._clock = clock
        self.heard: str | None = None
        self._held = False
        self._now: _Segment | None = None
        self._stopped_s = 0.0
        self._refilling: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def sample_rate(self) -> int | None:
        """The sink's, in Hz."""
        return self._sink.sample_rate

    @property
    def can_pause(self) -> bool:
        """It can, whatever the sink can."""
        return True

    @property
    def paused(self) -> bool:
        """Whether sound is held back."""
        return self._held

    @property
    def position_s(self) -> float:
        """How far the present answer has been played, in seconds, by the clock."""
        now = self._now
        if now is None:
            return 0.0
        if not now.open or now.started is None:
            return self._stopped_s
        return min(now.base_s + self._clock() - now.started, now.seconds(now.sent))

    @property
    def rest_s(self) -> float | None:
        """What is still to be played of an answer that sounds, in seconds; None before all of it is there."""
        now = self._now
        if now is None or not now.announced or not now.ended:
            return None
        return now.length_s - self.position_s

    async def sentence_ends(self, at_s: float | None = None) -> None:
        """Wait until a sentence has been played; not at all if nothing is played.

        Args:
            at_s: a place in the sentence that is meant; None: where it is now.
        """
        now, since = self._now, self.position_s if at_s is None else at_s
        while now is not None and self._now is now and not now.cut:
            end = sentence_end_after(self._pieces(now), since, now.length_s if now.ended else None)
            wait_s = None if end is None else end - _BREATH_S - self.position_s
            if wait_s is not None and wait_s <= 0:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Keep the frame; hand it on unless sound is held back."""
        now = self._now
        if now is None or now.ended:
            now = self._now = _Segment(frame.sample_rate, frame.num_channels)
            self._stopped_s, self.heard = 0.0, None
        flows = not self._held and self._refilling is None
        if flows:
            self._leave_out_silence(now)
            # Before it counts: a sink that nobody has joined yet waits, and may wait in vain.
            await self._sink.capture_frame(frame)
        await super().capture_frame(frame)
        self._note_text(now, frame)
        now.sound += frame.data.tobytes()
        if flows:
            now.sent, now.open = len(now.sound), True
            if self._held:
                # Held back while the sink was taking it.
                self._empty_sink(now)
        self._changed.set()

    def flush(self) -> None:
        """There is no more sound in this answer."""
        super().flush()
        now = self._now
        if now is None or now.ended:
            return
        now.ended = True
        if not self._held and self._refilling is None:
            self._flush_sink(now)
        self._changed.set()

    def clear_buffer(self) -> None:
        """Stop for good; what was heard is reported."""
        now = self._now
        if now is None or now.cut:
            return
        now.cut = now.ended = True
        self._stop_refilling()
        if now.open:
            self._empty_sink(now)
        elif self._pending_playback_count:
            self._finish(now, self._stopped_s, interrupted=True)
        self._changed.set()

    def pause(self) -> None:
        """Silence at once; what is not heard yet is kept."""
        if self._held:
            return
        self._held = True
        self._stop_refilling()
        now = self._now
        if now is not None and now.open and not now.cut:
            self._empty_sink(now)

    def resume(self) -> None:
        """Go on where it stopped."""
        if not self._held:
            return
        self._held = False
        now = self._now
        if now is not None and not now.cut:
            self._refilling = asyncio.create_task(self._refill(now), name="playout.refill")

    def on_playback_started(self, *, created_at: float) -> None:
        """The sink plays; told once for each answer."""
        now = self._now
        if now is not None:
            now.started = self._clock()
            self._changed.set()
            if now.announced:
                return
            now.announced = True
        super().on_playback_started(created_at=created_at)

    def on_playback_progressed(self, *, started_at: float, offset: float, duration: float) -> None:
        """A stretch was played; told with its place in the whole answer."""
        base_s = self._now.base_s if self._now is not None else 0.0
        super().on_playback_progressed(
            started_at=started_at, offset=base_s + offset, duration=duration
        )

    def on_playback_finished(
        self,
        *,
        playback_position: float,
        interrupted: bool,
        synchronized_transcript: str | None = None,
    ) -> None:
        """The sink is empty: the answer is over, or only held back."""
        now = self._now
        if now is None:
            super().on_playback_finished(
                playback_position=playback_position, interrupted=interrupted
            )
            return
        now.open, now.started = False, None
        self._stopped_s = now.base_s + playback_position
        self._changed.set()
        if interrupted and not now.cut:
            return
        self._finish(now, self._stopped_s, interrupted=interrupted)

    def _finish(self, now: _Segment, position_s: float, *, interrupted: bool) -> None:
        self.heard = heard_of(self._pieces(now), position_s) if interrupted else None
        self._now = None
        self._stopped_s = 0.0
        self._changed.set()
        super().on_playback_finished(playback_position=position_s, interrupted=interrupted)

    def _flush_sink(self, now: _Segment) -> None:
        if now.open and not now.flushed:
            now.flushed = True
            self._sink.flush()

    def _empty_sink(self, now: _Segment) -> None:
        self._flush_sink(now)
        self._sink.clear_buffer()

    async def _refill(self, now: _Segment) -> None:
        while now.open:
            self._changed.clear()
            await self._changed.wait()
        if self._now is not now:
            self._refilling = None
            return
        now.base_s = max(0.0, self._stopped_s - _TAKE_UP_S)
        now.sent = now.size(now.base_s)
        now.flushed = False
        step = now.size(_STEP_S)
        while now.sent < len(now.sound):
            piece = bytes(now.sound[now.sent : now.sent + step])
            self._leave_out_silence(now)
            now.open = True
            now.sent += len(piece)
            await self._sink.capture_frame(
                rtc.AudioFrame(piece, now.rate_hz, now.channels, len(piece) // 2 // now.channels)
            )
        self._refilling = None
        if now.ended:
            self._flush_sink(now)
            if not now.open:
                # It was stopped after its last sample.
                self._finish(now, self._stopped_s, interrupted=False)

    def _leave_out_silence(self, now: _Segment) -> None:
        """Set the clock back by what it went on after the last of the sound: the sink ran dry."""
        if now.started is not None:
            played_s = now.base_s + self._clock() - now.started
            now.started += max(0.0, played_s - now.seconds(now.sent))

    def _stop_refilling(self) -> None:
        if self._refilling is not None:
            self._refilling.cancel()
            self._refilling = None

    def _note_text(self, now: _Segment, frame: rtc.AudioFrame) -> None:
        for text in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, []):
            start = getattr(text, "start_time", None)
            known_s = now.length_s if start is None or not is_given(start) else float(start)
            now.pieces.append((known_s, str(text)))

    def _pieces(self, now: _Segment) -> list[Piece]:
        return list(_pieces(now))


def _pieces(now: _Segment) -> Iterator[Piece]:
    ends = [start for start, _ in now.pieces[1:]]
    ends.append(now.length_s if now.ended else float("inf"))
    for (start, text), end in zip(now.pieces, ends, strict=False):
        yield Piece(text, start, None if end == float("inf") else end)
