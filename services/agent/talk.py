"""A talk: ear, mind and voice put together as one livekit session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from livekit.agents import (
    AgentSession,
    APIConnectOptions,
    TurnHandlingOptions,
    inference,
    tts,
    vad,
)
from livekit.agents.voice.agent_session import SessionConnectOptions

from appliance.personas import Persona
from appliance.settings import Settings
from services.agent.callers_voice import CallersVoice
from services.agent.clauses import ClauseTokenizer
from services.agent.ear import Ear, EarEvents
from services.agent.mind import make_mind
from services.agent.outputs import put_before_the_sink
from services.agent.overlap import Overlap, interrupting_s
from services.agent.pauses import PatientDetector
from services.agent.raising import Raising
from services.agent.reading_ahead import ReadingAhead
from services.agent.turn_end import TurnEnd, make_judge
from services.agent.turns import TurnLog
from services.agent.upstream import Upstream
from services.agent.voice import Voice

# The end of a noise is told when the ear knows that there are no words in it.
_FALSE_ALARM_S = 0.3
_MODEL_SILENCE_S = 10.0


@dataclass(frozen=True)
class Detectors:
    """Voice detectors; ear and session need one each."""

    ear: vad.VAD
    session: vad.VAD


@dataclass(frozen=True)
class Talk:
    """A session and what it holds."""

    session: AgentSession[None]
    ear: Ear
    voice: Voice
    overlap: Overlap
    callers_voice: CallersVoice
    reading: ReadingAhead
    raising: Raising

    @classmethod
    def make(
        cls,
        settings: Settings,
        persona: Persona,
        session_id: str,
        detectors: Detectors,
        turns: TurnLog,
        on_unheard: Callable[[float], None],
    ) -> Talk:
        """Put a talk together; nothing is connected yet.

        Args:
            settings: the box's.
            persona: who answers.
            session_id: the call.
            detectors: this process's.
            turns: told of the moments.
            on_unheard: told of the length, in seconds, of speech without a word to who waits for words.
        """
        voice = make_voice(settings, persona, session_id, turns)
        ear = Ear(
            Upstream.of("stt", settings, session_id),
            detectors.ear,
            model=settings.stt.model if settings.stt.url else "whisper-1",
            language=persona.language,
            speculate_after_s=settings.agent.speculate_after_s,
            events=EarEvents(
                on_speech_end=turns.heard_speech_end,
                on_transcript=turns.heard_transcript,
                speculation=turns.speculation,
            ),
        )
        # The version is not a detail: without it the default may listen in the maker's cloud.
        turn_end = TurnEnd(
            inference.TurnDetector(version="v1-mini"), make_judge(persona.delays), persona.language
        )
        # Another server than the box's own knows nothing of requests without an answer.
        reader = (
            None if settings.llm.url else make_mind(settings, persona, session_id, prefill=True)
        )
        reading = ReadingAhead(reader, lambda: turn_end.words, turns.speculation)
        callers_voice = CallersVoice(turns, turn_end, on_unheard)
        ear.events.on_unheard = callers_voice.unheard
        ear.events.on_voice = callers_voice.goes_on
        ear.events.on_partial = lambda words: (
            # What the model is still saying is no part of the talk yet.
            None if turns.is_open else reading.understood(words)
        )
        session: AgentSession[None] = AgentSession(
            stt=ear,
            llm=make_mind(settings, persona, session_id, rank=lambda: turns.rank),
            tts=tts.StreamAdapter(tts=voice, sentence_tokenizer=ClauseTokenizer()),
            vad=PatientDetector(detectors.session, ear.settled),
            turn_handling=_handling(settings, persona, turn_end),
            conn_options=SessionConnectOptions(
                # Trying again would only double the silence: the caller is told, and asks again.
                llm_conn_options=APIConnectOptions(max_retry=0, timeout=_MODEL_SILENCE_S),
                stt_conn_options=APIConnectOptions(max_retry=0),
                tts_conn_options=APIConnectOptions(max_retry=0),
                # A call is never closed because a service failed; the caller decides.
                max_unrecoverable_errors=1_000_000,
            ),
            aec_warmup_duration=None,
            use_tts_aligned_transcript=True,
            user_away_timeout=None,
            # At the end of a call nobody waits for the last words.
            session_close_transcript_timeout=0.5,
        )
        turn_end.follow(session)
        callers_voice.follow(session)
        ear.on("error", lambda _error: turns.forget_speech())
        raising = Raising.of(settings, session_id)
        turns.on_turn_over = raising.tell
        overlap = Overlap(
            session,
            persona.barge_in,
            persona.language,
            settings.agent.barge_in_after_s,
            on_passed_over=turns.forget_speech,
        )
        ear.is_hurried = overlap.is_spoken_over
        return cls(session, ear, voice, overlap, callers_voice, reading, raising)

    def started(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The session has its outputs: take the last step before them.

        Args:
            clock: goes on while sound is played, in seconds.
        """
        if (playout := put_before_the_sink(self.session, clock)) is not None:
            self.overlap.start(playout)

    async def aclose(self) -> None:
        """Close the connections to the services."""
        self.overlap.close()
        await self.reading.aclose()
        await self.raising.aclose()
        await self.voice.aclose()
        await self.ear.aclose()


def make_voice(settings: Settings, persona: Persona, session_id: str, turns: TurnLog) -> Voice:
    """The persona's voice, at the box's own service or at the set address."""
    upstream = Upstream.of("tts", settings, session_id)
    if settings.tts.url:
        # That server keeps nothing of what it has spoken.
        return Voice(
            upstream,
            voice=persona.voice or settings.tts.voice,
            model=settings.tts.model,
            on_text=turns.sent_to_voice,
        )
    return Voice(
        upstream,
        # The service knows which of its voices is selected.
        voice=persona.voice or "default",
        on_text=turns.sent_to_voice,
        rank=lambda: turns.rank,
        greeting=persona.greeting,
    )


def _handling(settings: Settings, persona: Persona, turn_end: TurnEnd) -> TurnHandlingOptions:
    delays = persona.delays
    return TurnHandlingOptions(
        turn_detection=turn_end,
        endpointing={"mode": "fixed", "min_delay": delays.min_s, "max_delay": delays.max_s},
        interruption={
            "mode": "vad",
            "min_duration": interrupting_s(persona.barge_in, settings.agent.barge_in_after_s),
            "resume_false_interruption": persona.barge_in == "resume",
            "false_interruption_timeout": _FALSE_ALARM_S,
        },
        preemptive_generation={
            "enabled": True,
            "preemptive_tts": True,
            # How many are begun in a turn the turns decide: those that are held cost nothing.
            "max_retries": 1_000_000,
            "max_speech_duration": 60.0,
        },
    )
