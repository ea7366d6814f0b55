"""How soon and at what cost a sentence sounds, against Piper's own ``synthesize``.

    python bench/tts_streaming.py [--rounds 5] [--out bench/results/tts_streaming.json]

Everything in one process, the ways taking turns sentence by sentence: only ratios hold on another
machine. Imports services/tts and Piper and is, as they are, under the GPL, version 3 or later.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from appliance.audio import Samples
from appliance.settings import load_settings, seal_environment
from bench.machine import machine

TEXTS = (
    (
        "I would be glad to help you with that, and if you tell me a little more about what you need, "
        "we can find the right answer together quite quickly."
    ),
    (
        "The library opens at nine in the morning on weekdays and stays open until eight in the evening, "
        "except on public holidays when it is closed all day."
    ),
    (
        "When the water begins to boil, turn down the heat, add the rice and a little salt, and let it "
        "cook slowly under a lid for about fifteen minutes."
    ),
    (
        "The night train leaves from platform four at half past ten and arrives early the next morning, "
        "so you will have plenty of time to walk to your meeting."
    ),
    (
        "It depends on how much light the room gets, but most of these plants are happy near a window "
        "and want to be watered once or twice in a week."
    ),
)
ROOMS = 4
Pieces = Iterator[tuple[int, int]]
"""Samples of each piece and their rate."""


def main() -> None:
    seal_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    ways = Ways()
    rows = [
        row
        for turn in range(asked.rounds + 1)
        for text in TEXTS
        for row in [{way: timed(say, text) for way, say in ways.alone().items()}]
        # The first round fills caches and teaches the pace.
        if turn
    ]
    together = [at_once(ways, TEXTS[turn % len(TEXTS)]) for turn in range(asked.rounds)]
    result = {
        "what": f"{len(TEXTS)} sentences of 7 to 9 s, {asked.rounds} rounds, en_US-joe-medium",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine()
        | {"packages": {n: importlib.metadata.version(n) for n in ("piper-tts", "onnxruntime")}},
        "first_sound": ratios(rows, "first_s"),
        "work": ratios(rows, "cpu_s"),
        "whole": ratios(rows, "whole_s"),
        "playback_dry_ms_worst": round(max(r["ours"]["dry_s"] for r in rows) * 1000),
        f"first_sound_{ROOMS}_rooms_at_once": {
            way: round(statistics.median(s for turn in together for s in turn[way]) * 1000)
            for way in together[0]
        },
        "silence_before_speech_ms": ways.silence(),
        "rms_error_of_pieces": ways.error(),
        "rows": rows,
        "rows_at_once": together,
    }
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if not k.startswith("rows")}, indent=1))


def ratios(rows: list[dict[str, Any]], figure: str) -> dict[str, float]:
    """Medians in ms, and the median of ours over each baseline's, pair by pair."""
    found = {
        f"{way}_ms": round(statistics.median(row[way][figure] for row in rows) * 1000, 1)
        for way in rows[0]
    }
    for way in ("piper_one_thread", "piper"):
        pairs = [row["ours"][figure] / row[way][figure] for row in rows]
        found[f"ours/{way}"] = round(statistics.median(pairs), 3)
        found[f"ours/{way}_worst"] = round(max(pairs), 3)
    return found


def timed(say: Callable[[str], Pieces], text: str) -> dict[str, Any]:
    """First sound, whole and processor time in seconds, and how long a listener would wait."""
    began, cpu = time.monotonic(), time.process_time()
    first_s = dry_s = sent_s = 0.0
    pieces: list[tuple[float, float]] = []
    for samples, rate_hz in say(text):
        at_s = time.monotonic() - began
        if pieces:
            dry_s = max(dry_s, at_s - first_s - sent_s)
        else:
            first_s = at_s
        sent_s += samples / rate_hz
        pieces.append((round(at_s, 4), round(samples / rate_hz, 3)))
    whole_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    return {
        "first_s": first_s, "whole_s": whole_s, "cpu_s": cpu_s, "sound_s": round(sent_s, 2),
        "dry_s": dry_s, "pieces": pieces,
    }  # fmt: skip


def at_once(ways: Ways, text: str) -> dict[str, list[float]]:
    """First sounds when all rooms ask in one moment."""
    found: dict[str, list[float]] = {}
    for way, say in ways.together().items():
        with ThreadPoolExecutor(ROOMS) as rooms:
            asked = [rooms.submit(timed, say, f"{text} {room}.") for room in range(ROOMS)]
            found[way] = [room.result()["first_s"] for room in asked]
    return found


class Ways:
    """Ours and Piper's, loaded."""

    def __init__(self) -> None:
        from piper import PiperVoice

        from appliance.catalogue import Catalogue
        from services.tts.engine import PiperEngine
        from services.tts.stages import load_session

        settings = load_settings()
        settings = settings.model_copy(
            update={"tts": settings.tts.model_copy(update={"cache_mb": 0, "workers": 2})}
        )
        self._engine = PiperEngine(settings)
        self._engine.prepare()
        model = Catalogue(settings).installed("tts", "en_US-joe-medium").files
        self._model = model["model"]
        self._stock = PiperVoice.load(model["model"], model["config"])
        self._narrow = PiperVoice.load(model["model"], model["config"])
        self._narrow.session = load_session(str(model["model"]))
        self._two = threading.Semaphore(2)

    def alone(self) -> dict[str, Callable[[str], Pieces]]:
        """With Piper's session as it comes (all cores), and on one core as ours."""
        return {
            "piper_one_thread": lambda text: _heard(self._narrow, text),
            "ours": self._ours,
            "piper": lambda text: _heard(self._stock, text),
        }

    def together(self) -> dict[str, Callable[[str], Pieces]]:
        """Both with two sentences at a time on one core each."""
        return {"piper_pool_of_two": self._pooled, "ours": self._ours}

    def _pooled(self, text: str) -> Pieces:
        with self._two:
            yield from list(_heard(self._narrow, text))

    def _ours(self, text: str) -> Pieces:
        from services.tts.vocabulary import RATE_HZ, Speak

        for part in self._engine.run(Speak(text, "en_US-joe-medium"), threading.Event()):
            if isinstance(part, bytes):
                yield len(part) // 2, RATE_HZ

    def silence(self) -> dict[str, int]:
        """Median time before the first audible sample."""
        from appliance.audio import Pcm
        from services.tts.vocabulary import RATE_HZ, Speak

        ours, theirs = [], []
        for text in TEXTS:
            parts = self._engine.run(Speak(text, "en_US-joe-medium"), threading.Event())
            sound = Pcm.from_s16le(b"".join(p for p in parts if isinstance(p, bytes)), RATE_HZ)
            ours.append(_audible_s(sound.samples, RATE_HZ))
            chunk = next(iter(self._narrow.synthesize(text)))
            theirs.append(_audible_s(chunk.audio_float_array, chunk.sample_rate))
        return {
            "ours": round(statistics.median(ours) * 1000),
            "piper": round(statistics.median(theirs) * 1000),
        }

    def error(self) -> float:
        """RMS of the difference between pieces and whole, of the same draw, over the whole's."""
        from services.tts.cutting import cut
        from services.tts.stages import Stages

        stages = Stages(cut(self._model.read_bytes()))
        stages.probe(self._asked(TEXTS[0]))
        worst = 0.0
        for text in TEXTS:
            sentence = stages.sentence(self._asked(text))
            parts, at = [], 0
            for frames in (16, 40, 90, 128, 128, 128, 128, 10_000):
                parts.append(sentence.samples(at, min(at + frames, sentence.length)))
                at = min(at + frames, sentence.length)
            whole = sentence.samples(0, sentence.length)
            worst = max(worst, _rms(np.concatenate(parts) - whole) / _rms(whole))
        return worst

    def _asked(self, text: str) -> dict[str, Any]:
        ids = self._narrow.phonemes_to_ids(self._narrow.phonemize(text)[0])
        config = self._narrow.config
        return {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array(
                [config.noise_scale, config.length_scale, config.noise_w_scale], np.float32
            ),
        }


def _heard(voice: Any, text: str) -> Pieces:
    for chunk in voice.synthesize(text):
        yield len(chunk.audio_float_array), chunk.sample_rate


def _audible_s(samples: Samples, rate_hz: int) -> float:
    return int(np.argmax(np.abs(samples) > 0.01)) / rate_hz


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


if __name__ == "__main__":
    main()
