"""One call from its first word to its named end."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

from livekit import rtc
from livekit.agents import CloseEvent, JobContext
from livekit.agents.voice.room_io import AudioInputOptions, AudioOutputOptions, RoomOptions
from pydantic import ValidationError

from appliance import logs
from appliance.errors import BadInput
from appliance.personas import Persona
from appliance.settings import Settings
from appliance.store import Store
from services.agent import voice
from services.agent.apology import BACK, Apologies
from services.agent.company import Company
from services.agent.ending import Ending
from services.agent.mind import first_context, fit, read_ahead
from services.agent.panel_line import PanelLine
from services.agent.patience import CHANGED, CHANGING, Patience
from services.agent.speaker import Speaker
from services.agent.speculation import Speculation
from services.agent.talk import Detectors, Talk
from services.agent.turns import TurnLog
from services.agent.utterance import RATE_HZ

log = logs.get(__name__)

# Less voice than this may be a cough or a chair.
_CLEARLY_VOICED_S = 1.0
# What is left of a job's end for the store, in seconds; the goodbye must still be said.
_STORE_S = 2.0


@dataclass(frozen=True)
class Plan:
    """What the panel asks of a job."""

    session_id: str
    persona: Persona
    resumed: bool

    @classmethod
    def read(cls, metadata: str) -> Plan:
        """The plan in a dispatch's metadata.

        Raises:
            BadInput: it is not what a panel of this version writes.
        """
        try:
            raw = json.loads(metadata)
            return cls(
                session_id=str(raw["session_id"]),
                persona=Persona.model_validate(raw["persona"]),
                resumed=bool(raw.get("resumed", False)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise BadInput(
                "dispatch_unreadable", "The call's dispatch cannot be read.",
                "Are the panel and the agent of the same version?",
            ) from error  # fmt: skip


@dataclass(frozen=True)
class Equipment:
    """What a job's process has ready before its call comes."""

    settings: Settings
    store: Store
    detectors: Detectors


class Call:
    """One job: joins the room, talks, and writes how it ended."""

    def __init__(self, ctx: JobContext, plan: Plan, equipment: Equipment) -> None:
        self._ctx = ctx
        self._plan = plan
        self._settings = equipment.settings
        self._store = equipment.store
        self._line = PanelLine(
            self._settings.socket("panel"), plan.session_id, ctx.local_participant_identity,
            os.getpid(),
        )  # fmt: skip
        self._turns = TurnLog(
            self._store, plan.session_id, self._publish, Speculation(plan.persona.language)
        )
        self._talk = Talk.make(
            self._settings,
            plan.persona,
            plan.session_id,
            equipment.detectors,
            self._turns,
            self._on_unheard,
        )
        self._session = self._talk.session
        # Before the apologies: one that waited for a turn's end belongs to that turn.
        self._turns.follow(self._session)
        self._apologies = Apologies(
            self._session, lambda: self._turns.is_open, self._publish, self._turns.apologised
        )
        self._ending = Ending(ctx.room, self._settings.livekit.token_ttl_s, self._hang_up)
        self._patience = Patience(self._settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._company: Company | None = None
        self._session.on("close", self._on_close)

    async def run(self) -> None:
        """Join, greet (or say "I am back") and leave the rest to the session's events."""
        plan, persona = self._plan, self._plan.persona
        earlier = (
            await asyncio.to_thread(self._store.turns.list, plan.session_id) if plan.resumed else []
        )
        budget = self._settings.llm.context_tokens - persona.sampling.max_tokens
        speaker = Speaker(
            persona.instructions, first_context(persona, earlier), budget, self._turns,
            self._about_to_ask, self._talk.overlap.judged,
        )  # fmt: skip
        self._talk.reading.context = lambda: fit(
            speaker.chat_ctx, budget, frozenset(self._turns.hidden)
        )
        await self._session.start(
            speaker,
            room=self._ctx.room,
            record=False,
            session_host=False,
            room_options=RoomOptions(
                audio_input=AudioInputOptions(
                    sample_rate=RATE_HZ, frame_size_ms=20, pre_connect_audio=True
                ),
                audio_output=AudioOutputOptions(sample_rate=voice.RATE_HZ),
                # Ending decides: a caller who lost the connection may come back.
                close_on_disconnect=False,
                delete_room_on_close=False,
            ),
        )
        self._talk.started()
        self._company = Company(
            self._ctx.room, self._session, self._apologies, self._talk.callers_voice.returned
        )
        if not self._ctx.room.remote_participants:
            await self._ctx.wait_for_participant()
        self._ending.caller_is_here()
        if plan.resumed:
            log.info("talk_resumed", earlier_turns=sum(1 for turn in earlier if turn.user_text))
            self._apologies.say(BACK)
        elif persona.greeting:
            self._turns.greet(self._session.say(persona.greeting))
        prompt = fit(speaker.chat_ctx, budget, frozenset())
        # Not awaited: a job whose first part still runs is ended late.
        self._tasks = [
            asyncio.create_task(
                read_ahead(self._settings, persona, plan.session_id, prompt), name="call.read_ahead"
            ),
            asyncio.create_task(
                self._patience.announce(
                    lambda: self._apologies.models_changing(CHANGING),
                    lambda: self._apologies.notice("models_changing", CHANGED),
                ),
                name="call.announce",
            ),
        ]

    async def finish(self) -> None:
        """Write how the call ended, tell the panel and close the room. Before the room is left.

        A call that nobody ended stays open: the panel sends another agent as soon as the line drops.
        """
        self._ending.close()
        self._apologies.close()
        if self._company is not None:
            self._company.close()
        for task in self._tasks:
            task.cancel()
        await self._turns.aclose()
        self._turns.speculation.close()
        if self._ending.handed_over:
            log.info("call_handed_over", reason=self._ending.reason)
            await self._line.drop()
        else:
            await self._say_goodbye()
        await self._talk.aclose()

    async def _say_goodbye(self) -> None:
        state, reason = self._ending.state, self._ending.reason
        try:
            async with asyncio.timeout(_STORE_S):
                await asyncio.to_thread(
                    self._store.sessions.end, self._plan.session_id, state, reason
                )
        except Exception as error:  # noqa: BLE001 - the panel writes the end too, at the goodbye
            log.error("end_not_written", error=type(error).__name__)
        await self._line.goodbye(state.value, reason)
        await self._ctx.delete_room()

    async def _publish(self, text: str, topic: str) -> None:
        try:
            await self._ctx.room.local_participant.send_text(text, topic=topic)
        except (rtc.StreamError, RuntimeError, ConnectionError) as error:
            # The room is gone or being joined again; the store has it.
            log.info("not_published", topic=topic, error=type(error).__name__)

    def _about_to_ask(self) -> None:
        self._talk.reading.stop()
        self._apologies.new_attempt()

    def _on_unheard(self, voiced_s: float) -> None:
        if voiced_s >= _CLEARLY_VOICED_S:
            self._apologies.not_caught()

    def _on_close(self, event: CloseEvent) -> None:
        if event.error is not None:
            self._ending.hand_over("The talk could not go on.")

    def _hang_up(self) -> None:
        self._ctx.shutdown(self._ending.reason)
