"""Speaking over the agent under each of the four manners, on a running box; raw figures to results/.

    .venv/bin/python bench/barge_in.py --noises FOLDER

The agent reads a long greeting, so that no language model's mood is in the figures; a synthetic
caller speaks into it. ``--noises`` is a folder of recordings of sounds that are no words; the ones
that a ``manifest.json`` in it calls ``nonlexical`` if it has one. Where the ear finds words in one, the
sounds between them are cut out. What is missing to ``--noise-clips`` comes from variants (quieter, twice,
two after each other), then from made clicks; each result says which it was, and what the ear alone
makes of it.
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
import math
import statistics
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
from appliance.calling import Caller
from appliance.headset import RATE_HZ, Clip
from appliance.secrets import known_local_token
from appliance.settings import PROJECT_DIR, Settings, load_settings
from bench.machine import machine
from bench.noises import noises
from services.agent.backchannels import wants_the_floor

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
_GAP_S = 0.5
_SETTLES_S = 12.0
# RMS of full scale 1: the measure of the caller's own ear.
_LOUD = 0.0025


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
        return str(self._heard(sound)["text"])

    def words_in(self, sound: Pcm) -> list[tuple[float, float]]:
        """From when to when the ear finds words in ``sound`` that are no "um" or "ha", in seconds."""
        heard = self._heard(
            sound, **{"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        )
        # Without a language only such sounds say nothing: a "yes" is a word here.
        words = [word for word in heard["words"] if wants_the_floor(word["word"], "")]
        return [(word["start"], word["end"]) for word in words]

    def _heard(self, sound: Pcm, **wanted: str) -> dict[str, Any]:
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
                data={"model": "whisper-1", "language": "en", **wanted},
            )
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found

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
        await caller.until(lambda: caller.ear.silent_from(began, _GAP_S), _SETTLES_S)
        silent = caller.ear.silent_from(began, _GAP_S)
        turn = caller.turns[0] if caller.turns else None
        heard = _between(caller, greeted, silent or time.monotonic())
    finally:
        await caller.end()
    told = turn["agent_text"] if turn else ""
    by_ear = await asyncio.to_thread(box.transcribe, heard)
    return {
        "manner": manner, "clip": clip.name,
        "said_for_s": round(clip.voiced_to_s - clip.voiced_from_s, 2),
        "interrupted": bool(turn and turn["interrupted"]),
        "silence_ms": round((silent - began) * 1000) if silent else None,
        "ends_a_sentence": told.rstrip().endswith("."),
        "words_in_history": len(told.split()), "words_at_ear": len(by_ear.split()),
        "words_amiss": _amiss(told, by_ear),
    }  # fmt: skip


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
        if since <= moment <= until and loudness > _LOUD
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
    disturbing = await asyncio.to_thread(_disturbing, box, asked) if asked.noises else []
    files = box.write_personas()
    spoken: list[dict[str, Any]] = []
    disturbed: list[dict[str, Any]] = []
    try:
        for clip, made in disturbing:
            for manner in asked.noise_manners:
                disturbed.append(await noise(box, manner, clip, made))
                print(disturbed[-1], flush=True)
        for number in range(asked.rounds):
            for manner in MANNERS:
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
        "voice_to_silence_ms": {manner: _figures(spoken, manner) for manner in MANNERS},
        "false_alarms": {
            manner: f"{sum(one['ended_the_sentence'] for one in disturbed if one['manner'] == manner)}"
            f" of {sum(one['manner'] == manner for one in disturbed)}"
            for manner in asked.noise_manners
        },
        "words_amiss": _amiss_figures(spoken),
        "words": spoken,
        "noises": disturbed,
    }
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = asked.out or PROJECT_DIR / "bench" / "results" / f"barge-in-{stamp}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for key in ("voice_to_silence_ms", "false_alarms", "words_amiss"):
        print(f"{key}:", result[key])
    print("raw figures:", path)


def _disturbing(box: Box, asked: argparse.Namespace) -> list[tuple[Clip, str]]:
    """The noises; fewer than asked for would promise more than was tried."""
    found = noises(asked.noises, asked.noise_clips, box.words_in)
    kinds = collections.Counter(made for _clip, made in found)
    print(
        f"{len(found)} noises:", ", ".join(f"{n} {made}" for made, n in kinds.items()), flush=True
    )
    if len(found) < asked.noise_clips:
        raise SystemExit(
            f"{asked.noise_clips} noises were asked for: give a folder with more recordings, or "
            f"--noise-clips {len(found)}."
        )
    return found


def _figures(spoken: list[dict[str, Any]], manner: str) -> dict[str, Any]:
    own = [one for one in spoken if one["manner"] == manner]
    silenced = [one for one in own if one["interrupted"] and one["silence_ms"]]
    # One that never fell silent was waited for this long, and is no quicker than that.
    waited = [round(_SETTLES_S * 1000)] * (len(own) - len(silenced))
    ms = sorted([one["silence_ms"] for one in silenced] + waited)
    if not ms:
        return {"n": 0}
    return {
        "n": len(own), "never_silent": len(waited), "p50": statistics.median(ms),
        "p95": ms[math.ceil(0.95 * len(ms)) - 1], "max": ms[-1],
        "ended_a_sentence": sum(one["ends_a_sentence"] for one in own),
    }  # fmt: skip


def _amiss_figures(spoken: list[dict[str, Any]]) -> dict[str, Any]:
    amiss = [one["words_amiss"] for one in spoken if one["interrupted"]]
    if not amiss:
        return {}
    return {"n": len(amiss), "mean": round(statistics.mean(amiss), 2), "max": max(amiss)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12, help="words said under each manner")
    parser.add_argument("--noises", type=Path, help="folder of recordings without words")
    parser.add_argument("--noise-clips", type=int, default=20, help="how many noises")
    parser.add_argument(
        "--noise-manners", nargs="+", default=["ignore"], choices=MANNERS, help="made under these"
    )
    parser.add_argument("--note", default="", help="kept with the figures")
    parser.add_argument("--out", type=Path, help="the file; else in bench/results")
    asyncio.run(main(parser.parse_args()))
