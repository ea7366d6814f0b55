"""What becomes of answers that the caller speaks into before they sound, or leaves alone with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice import UserStateChangedEvent

from appliance import logs
from services.agent.turn_end import TurnEnd
from services.agent.turns import TurnLog

log = logs.get(__name__)


class CallersVoice:
    """Gives up answers to half a sentence, and answers anew what a noise has silenced.

    Args:
        turns: the call's.
        turn_end: knows the words of the turn that is not over yet.
        on_unheard: told of the length, in seconds, of speech without a word to who waits for words.
    """

    def __init__(
        self, turns: TurnLog, turn_end: TurnEnd, on_unheard: Callable[[float], None]
    ) -> None:
        self._turns = turns
        self._turn_end = turn_end
        self._on_unheard = on_unheard
        self._session: AgentSession[Any] | None = None
        # The last that was heard of the caller had no words.
        self._was_noise = False

    def follow(self, session: AgentSession[Any]) -> None:
        """The talk is put together."""
        self._session = session
        session.on("user_state_changed", self._on_user_state)

    def goes_on(self) -> None:
        """The caller speaks: an answer that was begun in the pause before is in vain."""
        self._was_noise = False
        session = self._session
        # The framework would let it run until the next words are final.
        if session and not session.current_speech and self._turns.give_up_attempt():
            self._interrupt(session)

    def unheard(self, voiced_s: float) -> None:
        """It was a noise."""
        # Without voice it was the last silence of a long speech, and that one has words.
        if voiced_s:
            self._turns.forget_speech()
        if self._turn_end.words:
            # What was said before it is answered, or goes on.
            return
        self._was_noise = voiced_s > 0
        if not self._answer_anew():
            self._on_unheard(voiced_s)

    def returned(self) -> None:
        """A caller is there again: what was asked before the line broke is answered."""
        self._was_noise = True
        self._answer_anew()

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            # By voice, or by what is typed.
            self._was_noise = False
        else:
            self._answer_anew()

    def _answer_anew(self) -> bool:
        """Answer what a noise has silenced, as soon as the session knows that it is over too.

        Returns:
            Whether an answer is owed.
        """
        session = self._session
        if session is None or not self._was_noise or not self._turns.is_silenced:
            return False
        # Told anew while the session still hears the noise, the answer would be silenced again.
        if session.user_state != "speaking":
            self._was_noise = False
            if not self._turns.answer_anew():
                # A noise that does not end: the caller had better know.
                self._on_unheard(math.inf)
                return True
            log.info("answered_anew")
            # An attempt that the framework still keeps would be taken for this one's.
            self._interrupt(session)
            with contextlib.suppress(RuntimeError):  # the session closes
                session.generate_reply()
        return True

    @staticmethod
    def _interrupt(session: AgentSession[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the session closes
            session.interrupt()
