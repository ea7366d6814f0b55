"""Speaking over the agent under each of the four manners, on a running box; raw figures to results/.

    .venv/bin/python bench/barge_in.py --noises FOLDER

The agent reads a long greeting, so that no language model's mood is in the figures; a synthetic
caller speaks into it, and listens until the answer to his words is over: where that answer follows
a finished sentence without a gap, the sentence ends where the agent says that the answer began.

``--noises`` is a folder of recordings of sounds that are no words; the ones that a ``manifest.json`` in
it calls ``nonlexical`` if it has one. Each gives one or two sounds: all of a short one, or what lies between
the words of one whose words' times are known (``words`` in the manifest, or those in ``noises.py``). No
sound is chosen by what the ear makes of it. Six made clicks follow, then variants (quieter, twice,
two after each other) up to ``--noise-clips``; each result says which it was, and what the ear alone makes of it.
"""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import argparse
import asyncio
import collections
import io
import itertools
import json
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jiwer
import numpy as np
import yaml
from whisper_normalizer.english import EnglishTextNormalizer

from appliance.audio import Pcm, decode_audio
from appliance.calling import Caller, boot_id
from appliance.headset import RATE_HZ, Clip
from appliance.secrets import known_local_token
from appliance.settings import PROJECT_DIR, Settings, load_settings
from bench.barge_in_figures import GAP_S, LOUD, amiss, next_answer, silences, silent_before
from bench.machine import machine
from bench.noises import Noises, noises

MANNERS = ("stop", "finish", "ignore", "resume")
WORDS = ("Stop.", "Wait.", "No.", "Hold on, please.", "I have another question about that.")
# Made with the box's own voice; this one is in the repository.
RECORDED = PROJECT_DIR / "tests" / "data" / "questions" / "wait.flac"
GREETING = (
    "The old lighthouse stands at the end of the long stone pier. "
    "Every evening its keeper climbs two hundred steps to the lamp. "
    "He carries a basket with bread, a bottle of oil and a book. "
    "When the fog comes in from the sea, he rings a heavy bell. "
    "The fishermen know the sound and turn their boats towards the harbour. "
    "In winter the waves are so high that they reach the windows. "
    "Then nobody sails, and the keeper writes letters to his sister."
)
_SPEAK_AFTER_S = 1.2
_SETTLES_S = 12.0
# An answer is told of when it is over, and a small model may go on for long.
_ANSWERED_S = 30.0


@dataclass(frozen=True)
class Box:
    """The box under test."""

    settings: Settings
    front: str
    token: str

    def write_personas(self) -> list[Path]:
        """One persona for each manner; returns the files."""
        folder = self.settings.data_dir / "personas"
        folder.mkdir(exist_ok=True)
        files = []
        for manner in MANNERS:
            persona = {
                "name": f"bench-{manner}", "instructions": "You answer in one short sentence.",
                "greeting": GREETING, "barge_in": manner, "keep_transcript": False,
            }  # fmt: skip
            files.append(folder / f"bench-{manner}.yaml")
            files[-1].write_text(yaml.safe_dump(persona), encoding="utf-8")
        return files

    def speak(self, text: str) -> Pcm:
        """``text`` in the box's own voice."""
        with self._service("tts") as tts:
            wanted = {
                "model": "default",
                "voice": "default",
                "input": text,
                "response_format": "wav",
            }
            answer = tts.post("/v1/audio/speech", json=wanted)
            answer.raise_for_status()
            return decode_audio(answer.content)

    def transcribe(self, sound: Pcm) -> str:
        """The words the box's own ear finds in ``sound``."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(16_000)
            writer.writeframes(sound.resampled(16_000).to_s16le())
        with self._service("stt") as stt:
            answer = stt.post(
                "/v1/audio/transcriptions",
                files={"file": ("heard.wav", file.getvalue())},
                data={"model": "whisper-1", "language": "en"},
            )
            answer.raise_for_status()
            return str(answer.json()["text"])

    def _service(self, name: str) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.settings.socket(name)))
        return httpx.Client(transport=transport, base_url=f"http://{name}", timeout=60)


async def listening(box: Box, manner: str) -> tuple[Caller, float]:
    """A caller in the middle of the greeting, and when its first sound was heard."""
    caller = Caller(box.front, f"bench-{manner}", token=box.token)
    await caller.join()
    if not await caller.until(lambda: caller.ear.first_loud(caller.joined_at), 20):
        raise RuntimeError("no greeting was heard")
    began = caller.ear.first_loud(caller.joined_at) or 0.0
    await caller.until(lambda: time.monotonic() > began + _SPEAK_AFTER_S, 5)
    return caller, began


async def words(box: Box, manner: str, clip: Clip) -> dict[str, Any]:
    """Say words into the greeting; how long until silence, and what the history holds of it."""
    caller, greeted = await listening(box, manner)
    try:
        began = (await caller.microphone.say(clip)).first_voiced
        await caller.until(lambda: caller.turns, _SETTLES_S)
        turn = caller.turns[0] if caller.turns else None
        interrupted = bool(turn and turn["interrupted"])
        silent = await _silent(caller, manner, began) if interrupted else None
        heard = _between(caller, greeted, silent) if silent else None
    finally:
        await caller.end()
    told = turn["agent_text"] if turn else ""
    by_ear = await asyncio.to_thread(box.transcribe, heard) if heard else None
    outcome = "not_known" if interrupted and manner == "finish" else "never_silent"
    return {
        "manner": manner, "clip": clip.name,
        "said_for_s": round(clip.voiced_to_s - clip.voiced_from_s, 2),
        "interrupted": interrupted, "outcome": "silenced" if silent else outcome,
        "silence_ms": round((silent - began) * 1000) if silent else None,
        "ends_a_sentence": told.rstrip().endswith("."),
        "words_in_history": len(told.split()),
        "words_at_ear": len(by_ear.split()) if by_ear is not None else None,
        "words_amiss": _amiss(told, by_ear) if by_ear is not None else None,
    }  # fmt: skip


async def _silent(caller: Caller, manner: str, began: float) -> float | None:
    """When the interrupted answer was over at the caller's ear; None if that cannot be told."""

    def answer() -> float | None:
        return next_answer(caller.turns, boot_id())

    if await caller.until(lambda: answer() is not None, _ANSWERED_S):
        return silent_before(caller.ear, began, answer() or 0.0)
    # What follows a finished sentence could be the answer. The others fall silent before there is one.
    return None if manner == "finish" else caller.ear.silent_from(began, GAP_S)


async def noise(box: Box, manner: str, clip: Clip, made: str) -> dict[str, Any]:
    """Make a noise into the greeting; whether the agent's sentence ended by it."""
    caller, _greeted = await listening(box, manner)
    try:
        said = await caller.microphone.say(clip)
        # What it leads to comes within a transcript's time.
        await caller.until(lambda: caller.turns or time.monotonic() > said.ended + 2.0, _SETTLES_S)
        turn = caller.turns[0] if caller.turns else None
        until = time.monotonic()
    finally:
        await caller.end()
    by_ear = await asyncio.to_thread(box.transcribe, Pcm(clip.samples, RATE_HZ))
    return {
        "manner": manner, "clip": clip.name, "made": made, "by_ear": by_ear,
        "ended_the_sentence": bool(turn and turn["interrupted"]),
        "longest_gap_s": round(_longest_gap(caller, said.began, until), 2),
    }  # fmt: skip


def _between(caller: Caller, since: float, until: float) -> Pcm:
    frames = [
        frame
        for moment, frame in zip(caller.ear.times, caller.ear.frames, strict=True)
        if since <= moment <= until + 0.05
    ]
    return Pcm(np.concatenate(frames).astype(np.float32) / 32768.0, RATE_HZ)


def _longest_gap(caller: Caller, since: float, until: float) -> float:
    loud = [
        moment
        for moment, loudness in zip(caller.ear.times, caller.ear.loudness, strict=True)
        if since <= moment <= until and loudness > LOUD
    ]
    moments = [since, *loud, until]
    return max(b - a for a, b in itertools.pairwise(moments))


def _amiss(told: str, by_ear: str) -> int:
    """Words that the history has and the ear has not, or the other way round."""
    normal = EnglishTextNormalizer()
    a, b = normal(told), normal(by_ear)
    if not a or not b:
        return len((a or b).split())
    out = jiwer.process_words(a, b)
    return int(out.insertions + out.deletions + out.substitutions)


async def main(asked: argparse.Namespace) -> None:
    """Run everything, print a summary, keep the raw figures."""
    settings = load_settings()
    box = Box(settings, f"http://127.0.0.1:{settings.front.http_port}", known_local_token(settings))
    said = [Clip.read(RECORDED)]
    said += [Clip.from_pcm(text, await asyncio.to_thread(box.speak, text)) for text in WORDS]
    disturbing = _disturbing(asked) if asked.noises else Noises()
    files = box.write_personas()
    spoken: list[dict[str, Any]] = []
    disturbed: list[dict[str, Any]] = []
    try:
        for clip, made in disturbing.clips:
            for manner in asked.noise_manners:
                disturbed.append(await noise(box, manner, clip, made))
                print(disturbed[-1], flush=True)
        for number in range(asked.rounds):
            for manner in asked.manners:
                clip = said[number % len(said)]
                spoken.append({"round": number} | await words(box, manner, clip))
                print(spoken[-1], flush=True)
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    result = {
        "what": "speaking over the agent",
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "note": asked.note,
        "machine": machine(),
        "models": [settings.stt.model, settings.tts.voice],
        "voice_to_silence_ms": {
            manner: silences(spoken, manner, round(_SETTLES_S * 1000)) for manner in asked.manners
        },
        "false_alarms": {
            manner: f"{sum(one['ended_the_sentence'] for one in disturbed if one['manner'] == manner)}"
            f" of {sum(one['manner'] == manner for one in disturbed)}"
            for manner in asked.noise_manners
        },
        "words_amiss": amiss(spoken),
        "without_a_noise": disturbing.unused,
        "words": spoken,
        "noises": disturbed,
    }
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = asked.out or PROJECT_DIR / "bench" / "results" / f"barge-in-{stamp}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for manner, found in result["voice_to_silence_ms"].items():
        print(f"voice to silence, {manner}, ms:", found)
    print("false alarms:", result["false_alarms"])
    print("words amiss:", result["words_amiss"])
    print("raw figures:", path)


def _disturbing(asked: argparse.Namespace) -> Noises:
    """The noises; fewer than asked for would promise more than was tried."""
    found = noises(asked.noises, asked.noise_clips)
    kinds = collections.Counter(made for _clip, made in found.clips)
    counted = ", ".join(f"{n} {made}" for made, n in kinds.items())
    print(f"{len(found.clips)} noises:", counted, flush=True)
    for why in found.unused:
        print("no noise from", why, flush=True)
    if len(found.clips) < asked.noise_clips:
        raise SystemExit(
            f"{asked.noise_clips} noises were asked for: give a folder with more recordings, or "
            f"--noise-clips {len(found.clips)}."
        )
    return found


def _manners(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := [manner for manner in chosen if manner not in MANNERS]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(map(repr, unknown))}: choose from {', '.join(MANNERS)}"
        )
    return chosen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    # Of fewer than 20 the p95 is the maximum; of 24 each of the six sayings has four.
    parser.add_argument("--rounds", type=int, default=24, help="words said under each manner")
    parser.add_argument(
        "--manners", type=_manners, default=list(MANNERS), help="such as stop,ignore; default all"
    )
    parser.add_argument("--noises", type=Path, help="folder of recordings without words")
    parser.add_argument("--noise-clips", type=int, default=20, help="how many noises")
    parser.add_argument(
        "--noise-manners", nargs="+", default=["ignore"], choices=MANNERS, help="made under these"
    )
    parser.add_argument("--note", default="", help="kept with the figures")
    parser.add_argument("--out", type=Path, help="the file; else in bench/results")
    asyncio.run(main(parser.parse_args()))
