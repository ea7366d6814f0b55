"""The session's outputs: before all of them what knows the words, before the sink what keeps the sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io

from services.agent.playout import Playout


class HeardWords(io.AudioOutput):
    """Stands before all outputs and says of an answer that was cut which words were heard."""

    def __init__(self, outputs: io.AudioOutput, playout: Playout) -> None:
        super().__init__(
            label="heard",
            capabilities=io.AudioOutputCapabilities(pause=True),
            next_in_chain=outputs,
        )
        self._outputs = self.next_in_chain or outputs
        self._playout = playout

    @property
    def sample_rate(self) -> int | None:
        """The sink's, in Hz."""
        return self._playout.sample_rate

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Hand the frame on."""
        await self._outputs.capture_frame(frame)
        await super().capture_frame(frame)

    def flush(self) -> None:
        """Hand it on."""
        super().flush()
        self._outputs.flush()

    def clear_buffer(self) -> None:
        """Hand it on."""
        self._outputs.clear_buffer()

    def on_playback_finished(
        self,
        *,
        playback_position: float,
        interrupted: bool,
        synchronized_transcript: str | None = None,
    ) -> None:
        """Tell with the words that were heard; the framework only guesses them."""
        if interrupted and self._playout.heard is not None:
            synchronized_transcript = self._playout.heard
        super().on_playback_finished(
            playback_position=playback_position,
            interrupted=interrupted,
            synchronized_transcript=synchronized_transcript,
        )


def put_before_the_sink(
    session: AgentSession[Any], clock: Callable[[], float] = time.monotonic
) -> Playout | None:
    """Let a started session's sound pass a playout on its last step to the sink.

    Args:
        session: the talk.
        clock: goes on while sound is played, in seconds.

    Returns:
        None if the session has no sink.
    """
    outputs = session.output.audio
    if outputs is None:
        return None
    slot = outputs.next_in_chain
    if slot is None or slot.next_in_chain is None:
        playout = Playout(outputs, clock)
        outputs = playout
    else:
        # The framework's own place for changing the sink, below whatever shows words in time.
        playout = Playout(slot.next_in_chain, clock)
        slot.set_next_in_chain(playout)  # type: ignore[attr-defined]
    session.output.audio = HeardWords(outputs, playout)
    return playout
