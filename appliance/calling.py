"""The synthetic caller: joins a real room, speaks recordings, times the answers.

All times are CLOCK_MONOTONIC seconds; on one host they compare with the agent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from livekit import rtc

from appliance.errors import ApplianceError, NotReady, Refused, TimedOut
from appliance.headset import Clip, Ear, Microphone

AUDIO_BITRATE = 64_000
STAGES = ("transcript", "end_of_turn", "first_token", "first_clause", "first_sound")
_QUIET_S = 1.0
_AGENT_JOINS_S = 5.0
_GREETING_S = 15.0
_ANSWER_S = 30.0
_REPLY_BEGINS_S = 5.0
_STEP_S = 0.02
# The agent's detector and our own threshold differ about where a word ends.
_SAME_MOMENT_S = 0.6


@dataclass
class TurnReport:
    """One recording and what came back. ``ms`` counts from the caller's last voiced sample."""

    file: str
    heard: str = ""
    answered: str = ""
    interrupted: bool = False
    early: bool = False
    """The agent's voice was heard before the recording's last word."""
    turns_in_file: int = 0
    turn: int | None = None
    """Index in the call of the turn whose times these are."""
    ms: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys((*STAGES, "at_ear")))

    @property
    def complete(self) -> bool:
        """Whether an answer was heard."""
        return bool(self.answered) and self.ms["at_ear"] is not None


class Caller:
    """One call from outside: the same road as a browser's.

    Args:
        front_url: the box's address, e.g. ``http://127.0.0.1:8080``.
        persona: who shall answer; None: the box's default.
        token: what it signs in with: the box's local token, or a key with the scope ``calls``.
        ca: the authority to trust instead of the usual ones, PEM; LiveKit's client takes it from
            ``settings.trust_only``.
    """

    def __init__(
        self, front_url: str, persona: str | None = None, *, token: str = "", ca: Path | None = None
    ) -> None:
        self.session_id = ""
        self.room = rtc.Room()
        self.microphone = Microphone()
        self.ear = Ear()
        self.turns: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self.joined_at = 0.0
        self.disconnected = asyncio.Event()
        self._persona = persona
        self._http = httpx.AsyncClient(
            base_url=front_url, timeout=10, trust_env=False,
            verify=ssl.create_default_context(cafile=ca) if ca else True,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )  # fmt: skip
        self._readers: set[asyncio.Task[None]] = set()

    async def join(self) -> None:
        """Ask for a call, join its room, begin to send the microphone.

        Raises:
            NotReady: the box does not answer, is starting, or is full.
            ApplianceError: it refused for another reason.
        """
        url, token = await self._admitted()
        self._listen()
        try:
            await self.room.connect(url, token)
        except rtc.ConnectError as error:
            raise NotReady(
                "cannot_join", "The call's room could not be joined.",
                "Look at `scripts/appliance logs livekit`.",
            ) from error  # fmt: skip
        self.joined_at = time.monotonic()
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self.microphone.source)
        # As the page sends it: more than speech needs, which on one machine costs nothing.
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        options.audio_encoding.max_bitrate = AUDIO_BITRATE
        await self.room.local_participant.publish_track(track, options)
        self.microphone.start()
        if not await self.until(self.agent_present, _AGENT_JOINS_S):
            await self._agent_again()

    async def _admitted(self) -> tuple[str, str]:
        """The media server's address and a token for this call's room."""
        body = {"persona": self._persona} if self._persona else {}
        answer = await self._post("/api/v1/sessions", body)
        self.session_id = answer["session_id"]
        return answer["url"], answer["token"]

    async def _agent_again(self) -> None:
        """Ask for an agent: none has come."""
        await self._post(f"/api/v1/sessions/{self.session_id}/dispatch", {})

    def agent_present(self) -> bool:
        """Whether an agent is in the room."""
        return any(name.startswith("agent-") for name in self.room.remote_participants)

    @property
    def agent_state(self) -> str:
        """The agent's own word: initializing, listening, thinking, speaking; empty if absent."""
        for name, participant in self.room.remote_participants.items():
            if name.startswith("agent-"):
                return participant.attributes.get("lk.agent.state", "")
        return ""

    async def until(self, true: Callable[[], Any], timeout_s: float) -> bool:
        """Wait for a condition; False when the time is over or the room is gone."""
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline or self.disconnected.is_set():
                return bool(true())
            await asyncio.sleep(_STEP_S)
        return True

    async def greeting(self) -> float | None:
        """Wait until the agent has greeted; returns when its first sound was heard.

        None if it is there, listens and says nothing: a persona may have no greeting.

        Raises:
            TimedOut: no greeting was heard, and no agent listens.
        """
        if not await self.until(lambda: self.ear.first_loud(self.joined_at), _GREETING_S):
            if self.agent_state == "listening":
                return None
            raise TimedOut(
                "no_greeting", "The agent did not greet.", "Look at `scripts/appliance status`.",
                can_retry=True,
            )  # fmt: skip
        first = self.ear.first_loud(self.joined_at)
        await self.until(self._quiet, _ANSWER_S)
        return first

    def _quiet(self) -> bool:
        silent = time.monotonic() - self.ear.last_loud() > _QUIET_S
        return silent and self.agent_state not in ("thinking", "speaking")

    async def ask(
        self, clip: Clip, timeout_s: float = _ANSWER_S, *, floor: asyncio.Lock | None = None
    ) -> TurnReport:
        """Speak one recording and wait until its answer is over, at most ``timeout_s`` after it.

        Args:
            clip: what to say.
            timeout_s: after which no answer is waited for any more.
            floor: held from the first word until the answer begins, so that several callers
                speak in turn.
        """
        before = len(self.turns)
        async with floor or contextlib.nullcontext():
            spoken = await self.microphone.say(clip)
            last_voiced = spoken.last_voiced
            if floor:
                await self.until(lambda: self.ear.first_loud(last_voiced), timeout_s)
        await self.until(lambda: self._answered(before, last_voiced), timeout_s)
        report = self._report(clip, self.turns[before:], last_voiced)
        first = self.ear.first_loud(spoken.first_voiced)
        report.early = first is not None and first < last_voiced
        return report

    def _answered(self, before: int, last_voiced: float) -> bool:
        """The answer to the recording's last words was heard, or there is none to wait for."""
        if not self._quiet() or len(self.turns) == before:
            return False
        last = self.turns[-1]
        if last["interrupted"] and not last["agent_text"]:
            # The recording went on: what it is answered with is still to come.
            return False
        speech_end = last["at"].get("speech_end")
        same_host = last.get("host") == boot_id() and speech_end is not None
        if same_host and speech_end < last_voiced - _SAME_MOMENT_S:
            # A pause in the recording ends a turn of its own; the last one is still to come.
            return False
        return not last["agent_text"] or self.ear.first_loud(last_voiced) is not None

    def _report(self, clip: Clip, turns: list[dict[str, Any]], last_voiced: float) -> TurnReport:
        report = TurnReport(clip.name, turns_in_file=len(turns))
        if not turns:
            # An apology is no turn, but it is heard.
            report.ms["at_ear"] = self._heard_ms(last_voiced, last_voiced)
            return report
        report.heard = " ".join(t["user_text"] for t in turns if t["user_text"])
        report.answered = " ".join(t["agent_text"] for t in turns if t["agent_text"])
        report.interrupted = bool(turns[-1]["interrupted"])
        report.turn = turns[-1]["turn"]
        at = turns[-1]["at"]
        same_host = turns[-1].get("host") == boot_id()
        for stage in STAGES:
            if same_host and at.get(stage) is not None:
                report.ms[stage] = round((at[stage] - last_voiced) * 1000)
        since = at["first_sound"] if same_host and at.get("first_sound") else last_voiced
        report.ms["at_ear"] = self._heard_ms(max(since, last_voiced), last_voiced)
        return report

    def _heard_ms(self, since: float, last_voiced: float) -> int | None:
        """When sound was first heard at or after ``since``, in ms after the last voiced sample."""
        heard = self.ear.first_loud(since)
        return round((heard - last_voiced) * 1000) if heard else None

    async def settled(self, since: float) -> None:
        """Wait until whatever answers what was said until ``since`` is over, if there is such."""
        await self.until(lambda: self.ear.first_loud(since), _REPLY_BEGINS_S)
        await self.until(self._quiet, _ANSWER_S)

    async def type(self, text: str) -> None:
        """Send a typed message instead of speech."""
        await self.room.local_participant.send_text(text, topic="lk.chat")

    async def end(self) -> str:
        """End the call and leave; returns the session's end state."""
        try:
            ended = await self._post(f"/api/v1/sessions/{self.session_id}/end", {})
            answer = await self._http.get(f"/api/v1/sessions/{self.session_id}")
            # A key that may place calls need not be allowed to read them.
            last = answer.json() if answer.is_success else ended
            state: str = last.get("state", "failed")
            return state
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Hang up without a word."""
        await self.microphone.stop()
        await self.ear.stop()
        await self.room.disconnect()
        await self._http.aclose()

    def _listen(self) -> None:
        self.room.on("track_subscribed", self._subscribed)
        self.room.on("disconnected", lambda *_: self.disconnected.set())
        self.room.register_text_stream_handler("appliance.turn", self._collect(self.turns))
        self.room.register_text_stream_handler("appliance.notice", self._collect(self.notices))
        # Without a handler the SDK logs a warning for every sentence.
        self.room.register_text_stream_handler("lk.transcription", self._collect(None))

    def _subscribed(self, track: rtc.Track, *_rest: Any) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.ear.attach(track)

    def _collect(
        self, into: list[dict[str, Any]] | None
    ) -> Callable[[rtc.TextStreamReader, str], None]:
        async def read(reader: rtc.TextStreamReader) -> None:
            try:
                text = await reader.read_all()
            except rtc.StreamError:
                # Its sender died while it sent; half a piece says nothing.
                return
            if into is not None:
                into.append(json.loads(text))

        def handler(reader: rtc.TextStreamReader, _sender: str) -> None:
            task = asyncio.create_task(read(reader))
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)

        return handler

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Refused(
                    "certificate_not_trusted",
                    f"The certificate of {self._http.base_url} is not trusted here.",
                    "Give the box's own authority with --ca; its plain http page hands it out.",
                ) from error
            raise NotReady(
                "box_unreachable", f"The box does not answer at {self._http.base_url}.",
                "Start it with scripts/run.",
            ) from error  # fmt: skip
        if not answer.is_success:
            raise _refusal(answer)
        try:
            result: dict[str, Any] = answer.json()
        except ValueError as error:
            raise NotReady(
                "not_earshot", f"Something else than Earshot answers at {self._http.base_url}.",
                "`scripts/appliance doctor` looks who has the port.",
            ) from error  # fmt: skip
        return result


def _refusal(answer: httpx.Response) -> ApplianceError:
    """The panel's own error, as it was meant."""
    try:
        told = answer.json()["error"]
        code, message, hint = told["code"], told["message"], told.get("hint", "")
    except (ValueError, KeyError, TypeError):
        code, message, hint = "box_unreachable", "The box's panel does not answer.", ""
    kind = NotReady if answer.status_code in (502, 503) else ApplianceError
    return kind(code, message, hint or "Look at `scripts/appliance status`.")


def boot_id() -> str:
    """Names the running kernel: programs with the same one share CLOCK_MONOTONIC."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
