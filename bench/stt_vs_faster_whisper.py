"""How long the ear needs for a short utterance, against faster-whisper as it comes, on the same clips.

    python bench/stt_vs_faster_whisper.py [--model whisper-base] [--rounds 3] [--out bench/results]

Both hear the same wav in one process, with the same weights and threads, turn by turn. Ours is what the
service does with a request: reading the file, finding the voice, and Whisper. Beside the time on the
wall, which others on the machine disturb, stands the processor time, which they hardly do. Each clip
is heard clean, in white noise 15 dB below it, and through a telephone's band, so that there are more words.
"""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import argparse
import importlib.metadata
import io
import json
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile as sf
import soxr
from whisper_normalizer.english import EnglishTextNormalizer

from appliance.catalogue import Catalogue
from appliance.settings import PROJECT_DIR, load_settings
from bench.machine import machine
from services.stt.decoding import decode
from services.stt.vocabulary import RATE_HZ, Manner, Samples
from services.stt.whisper import Whisper
from services.stt.windows import windows

CLIPS = PROJECT_DIR / "tests" / "data" / "speech"
LONGEST_S = 12.0
NOISE_DB = -15.0
ROOMS = (2, 4)
OURS = "ours"
PINNED = "faster_whisper"
UNPINNED = "faster_whisper_language_unknown"
ENGLISH = Manner(language="en")


@dataclass
class Clip:
    """One recording in one of its three conditions, and what became of it."""

    name: str
    condition: str
    said: str
    wav: bytes
    heard: dict[str, str] = field(default_factory=dict)
    wall_ms: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    from faster_whisper import WhisperModel

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speech", type=Path, default=CLIPS, help="folder with a manifest.json")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compute-type", default="int8", help="CTranslate2's name, for both")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    folder = Catalogue(load_settings()).installed("stt", asked.model).folder
    before = machine()
    runs = []
    for threads in asked.threads:
        whisper = Whisper(
            folder, device=asked.device, compute_type=asked.compute_type, threads=threads
        )
        model = WhisperModel(
            str(folder), device=asked.device, compute_type=asked.compute_type,
            cpu_threads=threads, local_files_only=True,
        )  # fmt: skip
        clips = clips_of(asked.speech)
        alternate(whisper, model, clips, asked.rounds)
        runs.append(
            {"threads": threads, **summary(clips), "rooms": rooms(whisper, clips, asked.rounds)}
            | {"clips": [row(clip) for clip in clips]}
        )
    at = datetime.now(UTC)
    packages = ("faster-whisper", "ctranslate2", "onnxruntime", "numpy")
    result = {
        "what": "time for one short utterance, ours and faster-whisper's defaults, interleaved",
        "model": asked.model,
        "device": asked.device,
        "compute_type": asked.compute_type,
        "at": at.isoformat(timespec="seconds"),
        "machine": before | {"packages": {p: importlib.metadata.version(p) for p in packages}},
        "load_after": machine()["load"],
        "runs": runs,
    }
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        path = asked.out / f"stt-vs-faster-whisper-{asked.model}-{at:%Y%m%d-%H%M%S}.json"
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)
    for run in runs:
        print(json.dumps({key: value for key, value in run.items() if key != "clips"}, indent=1))


def clips_of(folder: Path) -> list[Clip]:
    """Every recording with words of up to 12 s, in its three conditions."""
    found = []
    noise = np.random.default_rng(6)
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        if entry["seconds"] > LONGEST_S or entry.get("kind") or not entry["text"]:
            continue
        samples, rate_hz = sf.read(folder / entry["file"], dtype="float32")
        clean = soxr.resample(samples, rate_hz, RATE_HZ)
        loudness = np.sqrt(np.mean(clean**2)) * 10 ** (NOISE_DB / 20)
        noisy = clean + noise.normal(0, loudness, clean.size).astype(np.float32)
        phone = soxr.resample(soxr.resample(clean, RATE_HZ, 8_000), 8_000, RATE_HZ)
        for condition, sound in (("clean", clean), ("noise", noisy), ("telephone", phone)):
            found.append(Clip(entry["file"], condition, entry["text"], wav(sound)))
    return found


def wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.clip(samples, -1, 1), RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def alternate(whisper: Whisper, model: Any, clips: list[Clip], rounds: int) -> None:
    """Hear each clip in each way, one after the other; who begins changes with the round."""
    ways: list[tuple[str, Callable[[bytes], str]]] = [
        (OURS, lambda sound: ours(whisper, sound)),
        (PINNED, lambda sound: theirs(model, sound, language="en")),
        (UNPINNED, lambda sound: theirs(model, sound)),
    ]
    for _name, way in ways:
        way(clips[0].wav)
    for turn in range(rounds):
        for clip in clips:
            for name, way in ways[turn % 3 :] + ways[: turn % 3]:
                began, worked = time.perf_counter(), time.process_time()
                clip.heard[name] = way(clip.wav)
                clip.wall_ms.setdefault(name, []).append((time.perf_counter() - began) * 1000)
                clip.cpu_ms.setdefault(name, []).append((time.process_time() - worked) * 1000)


def ours(whisper: Whisper, sound: bytes) -> str:
    """What services.stt.engine does with one request."""
    place = whisper.request(0, threading.Event())
    place.expect()
    texts = []
    for window in windows(decode(io.BytesIO(sound), 600.0), whisper.find_speech):
        passage = whisper.recognise(window, ENGLISH, place)
        texts.append(passage.text if passage else "")
        place = whisper.request(1, threading.Event())
    return " ".join(texts)


def theirs(model: Any, sound: bytes, **options: Any) -> str:
    """faster-whisper with nothing chosen but, at most, the language."""
    segments, _info = model.transcribe(io.BytesIO(sound), **options)
    return " ".join(segment.text.strip() for segment in segments)


def summary(clips: list[Clip]) -> dict[str, Any]:
    def total(times: str, way: str) -> float:
        return sum(statistics.median(getattr(clip, times)[way]) for clip in clips)

    return {
        "clips_heard": len(clips),
        "words": sum(len(clip.said.split()) for clip in clips),
        "wall_ratio": {
            way: round(total("wall_ms", OURS) / total("wall_ms", way), 3)
            for way in (PINNED, UNPINNED)
        },
        "cpu_ratio": {
            way: round(total("cpu_ms", OURS) / total("cpu_ms", way), 3)
            for way in (PINNED, UNPINNED)
        },
        "median_ms": {
            way: round(statistics.median(t for clip in clips for t in clip.wall_ms[way]), 1)
            for way in (OURS, PINNED, UNPINNED)
        },
        "wer": {way: wer(clips, way) for way in (OURS, PINNED, UNPINNED)},
        "wer_by_condition": {
            condition: {
                way: wer([c for c in clips if c.condition == condition], way)
                for way in (OURS, PINNED)
            }
            for condition in ("clean", "noise", "telephone")
        },
    }


def wer(clips: list[Clip], way: str) -> float:
    """Word error rate after Whisper's English normaliser."""
    normal = EnglishTextNormalizer()
    said = [normal(clip.said) for clip in clips]
    return round(float(jiwer.wer(said, [normal(clip.heard[way]) for clip in clips])), 4)


def rooms(whisper: Whisper, clips: list[Clip], rounds: int) -> list[dict[str, Any]]:
    """Several rooms speak at the same moment: gathered, and one behind the other."""
    found = []
    gathered = whisper.steps.frames_at_once
    for count in ROOMS:
        rows: dict[str, list[dict[str, float]]] = {"gathered": [], "one_by_one": []}
        groups = [clips[at : at + count] for at in range(0, len(clips) - count + 1, count)]
        for turn in range(rounds):
            for group in groups:
                ways = list(rows)[:: 1 if turn % 2 else -1]
                for way in ways:
                    whisper.steps.frames_at_once = gathered if way == "gathered" else 0
                    rows[way].append(at_once(whisper, group))
        whisper.steps.frames_at_once = gathered

        def ratio(key: str, rows: dict[str, list[dict[str, float]]] = rows) -> float:
            return round(
                sum(r[key] for r in rows["gathered"]) / sum(r[key] for r in rows["one_by_one"]), 3
            )

        found.append(
            {
                "rooms": count,
                "last_ratio": ratio("last_ms"),
                "mean_ratio": ratio("mean_ms"),
                "cpu_ratio": ratio("cpu_ms"),
                "same_words": sum(r["same"] for r in rows["gathered"]) / len(rows["gathered"]),
                "raw": rows,
            }
        )
    return found


def at_once(whisper: Whisper, group: list[Clip]) -> dict[str, float]:
    begin = threading.Barrier(len(group) + 1)

    def hear(clip: Clip) -> tuple[float, str]:
        begin.wait()
        began = time.perf_counter()
        text = ours(whisper, clip.wav)
        return (time.perf_counter() - began) * 1000, text

    with ThreadPoolExecutor(len(group)) as pool:
        jobs = [pool.submit(hear, clip) for clip in group]
        worked = time.process_time()
        begin.wait()
        took, texts = zip(*(job.result() for job in jobs), strict=True)
        worked = time.process_time() - worked
    return {
        "last_ms": round(max(took), 1),
        "mean_ms": round(statistics.fmean(took), 1),
        "cpu_ms": round(worked * 1000, 1),
        "same": sum(t == c.heard[OURS] for t, c in zip(texts, group, strict=True)) / len(group),
    }


def row(clip: Clip) -> dict[str, Any]:
    return {
        "file": clip.name,
        "condition": clip.condition,
        "said": clip.said,
        "heard": clip.heard,
        "wall_ms": {way: [round(t, 1) for t in times] for way, times in clip.wall_ms.items()},
        "cpu_ms": {way: [round(t, 1) for t in times] for way, times in clip.cpu_ms.items()},
    }


if __name__ == "__main__":
    main()
