"""Mouth to ear: five-turn calls and interruptions on a running box; raw figures to results/.

Start the box (`scripts/run --detach`), then: `.venv/bin/python bench/call_latency.py --calls 3`.
"""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import asdict
from typing import Any

from appliance.calling import Caller
from appliance.headset import Clip
from appliance.secrets import known_local_token
from appliance.settings import PROJECT_DIR, load_settings
from bench.machine import machine

QUESTIONS = PROJECT_DIR / "tests" / "data" / "questions"
FIVE = ("france", "hot", "week", "sky", "ocean")
_SILENCE_GAP_S = 0.4
_SPEAK_OVER_AFTER_S = 1.5


def _clip(name: str) -> Clip:
    return Clip.read(QUESTIONS / f"{name}.flac")


async def five_turns(front: str, token: str) -> list[dict[str, Any]]:
    """One call of five questions; a report per turn."""
    caller = Caller(front, token=token)
    await caller.join()
    try:
        greeted = await caller.greeting()
        turns = [asdict(await caller.ask(_clip(name))) for name in FIVE]
        greeting_ms = round((greeted - caller.joined_at) * 1000) if greeted else None
        return [turn | {"greeting_ms": greeting_ms} for turn in turns]
    finally:
        await caller.end()


async def barge_in(front: str, token: str) -> dict[str, Any]:
    """Speak over a long answer; ms from the first voiced sample to silence at the ear."""
    caller = Caller(front, token=token)
    await caller.join()
    try:
        await caller.greeting()
        ended = (await caller.microphone.say(_clip("story"))).last_voiced
        await caller.until(lambda: caller.ear.first_loud(ended), 15)
        started = caller.ear.first_loud(ended) or ended
        await caller.until(lambda: time.monotonic() > started + _SPEAK_OVER_AFTER_S, 10)
        began = (await caller.microphone.say(_clip("wait"))).first_voiced
        await caller.until(lambda: caller.ear.silent_from(began, _SILENCE_GAP_S), 15)
        silent = caller.ear.silent_from(began, _SILENCE_GAP_S)
        speaking = (caller.ear.first_loud(began - 0.1) or began + 9) < began + 0.1
        return {
            "agent_was_speaking": speaking,
            "silence_ms": round((silent - began) * 1000) if silent else None,
        }
    finally:
        await caller.end()


def _summary(values: list[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "p50": statistics.median(ordered),
        "p90": ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))],
        "min": ordered[0],
        "max": ordered[-1],
    }


async def main(calls: int, note: str) -> None:
    """Run everything, print a summary, keep the raw figures."""
    settings = load_settings()
    front = f"http://127.0.0.1:{settings.front.http_port}"
    token = known_local_token(settings)
    turns: list[dict[str, Any]] = []
    cuts: list[dict[str, Any]] = []
    for _ in range(calls):
        turns += await five_turns(front, token)
        cuts.append(await barge_in(front, token))
    answers = [turn for turn in turns if turn["answered"]]
    heard = [turn["ms"]["at_ear"] for turn in answers if turn["ms"]["at_ear"] is not None]
    silences = [
        cut["silence_ms"] for cut in cuts if cut["agent_was_speaking"] and cut["silence_ms"]
    ]
    result = {
        "what": "five-turn calls and barge-in",
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "note": note,
        "machine": machine(),
        "models": [settings.stt.model, settings.llm.model, settings.tts.voice],
        "at_ear_ms": _summary(heard),
        "barge_in_to_silence_ms": _summary(silences) if silences else None,
        "turns": turns,
        "barge_in": cuts,
    }
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = PROJECT_DIR / "bench" / "results" / f"call-latency-{stamp}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print("at ear, ms:", result["at_ear_ms"])
    print("barge-in to silence, ms:", result["barge_in_to_silence_ms"])
    print("raw figures:", path.relative_to(PROJECT_DIR))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=3, help="how many calls of five turns")
    parser.add_argument("--note", default="", help="kept with the figures")
    options = parser.parse_args()
    asyncio.run(main(options.calls, options.note))
