"""How well and how fast the ear hears the recorded clips, against padding each to 30 s.

    python bench/stt_windows.py [--model whisper-base] [--out bench/results/stt_windows.json]

Words are counted on what the service answers over HTTP. Times are taken inside one process,
the two ways alternating clip by clip, because only their ratio holds on another machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jiwer
import soundfile as sf
from whisper_normalizer.english import EnglishTextNormalizer

from appliance.catalogue import Catalogue
from appliance.settings import (
    PROJECT_DIR,
    load_settings,
    seal_environment,
    sealed_environment,
)
from bench.machine import machine
from services.stt import rules
from services.stt.vocabulary import Manner, Window
from services.stt.whisper import Whisper

CLIPS = PROJECT_DIR / "tests" / "data" / "speech"
START_S = 60.0
THREADS = 2


def _packages() -> dict[str, str]:
    names = ("faster-whisper", "ctranslate2", "onnxruntime", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


def main() -> None:
    seal_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="whisper-base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    clips = json.loads((CLIPS / "manifest.json").read_text())
    heard = over_http(asked.model, clips)
    timed = alternating(asked.model, clips, asked.rounds)
    rows = [{**h, **t} for h, t in zip(heard, timed, strict=True)]
    result = {
        "what": "12 recorded clips, language pinned, greedy",
        "model": asked.model,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"threads": THREADS, "packages": _packages()},
        "wer_http": round(word_errors([(r["text"], r["heard"]) for r in rows]), 4),
        "wer_short": round(word_errors([(r["text"], r["heard_short"]) for r in rows]), 4),
        "wer_30s": round(word_errors([(r["text"], r["heard_30s"]) for r in rows]), 4),
        "time_ratio_short_to_30s": round(
            sum(r["short_ms"] for r in rows) / sum(r["full_ms"] for r in rows), 3
        ),
        "clips": rows,
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "clips"}, indent=1))


def word_errors(pairs: list[tuple[str, str]]) -> float:
    normal = EnglishTextNormalizer()
    return float(jiwer.wer([normal(said) for said, _ in pairs], [normal(got) for _, got in pairs]))


def over_http(model: str, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="earshot-") as folder:
        environment = {
            **sealed_environment(), "APPLIANCE_DATA_DIR": folder, "APPLIANCE_STT__MODEL": model
        }  # fmt: skip
        service = subprocess.Popen(
            [sys.executable, "-m", "services.stt"], env=environment, cwd=PROJECT_DIR,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            transport = httpx.HTTPTransport(uds=f"{folder}/run/stt.sock")
            with httpx.Client(transport=transport, base_url="http://stt", timeout=60) as client:
                until_ready(client, service)
                return [asked_once(client, clip) for clip in clips]
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(10)


def until_ready(client: httpx.Client, service: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            answer = client.get("/readyz")
        except httpx.TransportError:
            why = "no socket yet"
        else:
            if answer.status_code == 200:
                return
            why = answer.json()["why"]
        if service.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The service did not become ready: {why}")
        time.sleep(0.05)


def asked_once(client: httpx.Client, clip: dict[str, Any]) -> dict[str, Any]:
    sound = (CLIPS / clip["file"]).read_bytes()
    began = time.monotonic()
    answer = client.post(
        "/v1/audio/transcriptions", files={"file": sound}, data={"language": "en"}
    ).raise_for_status()
    return {
        "file": clip["file"],
        "seconds": clip["seconds"],
        "text": clip["text"],
        "heard": answer.json()["text"],
        "http_ms": round((time.monotonic() - began) * 1000),
    }


def alternating(model: str, clips: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    folder = Catalogue(load_settings()).installed("stt", model).folder
    whisper = Whisper(folder, device="cpu", compute_type="int8", threads=THREADS)
    short = rules.frames_for
    english = Manner(language="en")
    rows = []
    for clip in clips:
        samples, _rate_hz = sf.read(CLIPS / clip["file"], dtype="float32")
        window = Window(0.0, samples, tuple(whisper.find_speech(samples)))
        took: dict[str, list[float]] = {"short": [], "full": []}
        said: dict[str, str] = {}
        for _ in range(rounds):
            for way, frames in (("short", short), ("full", lambda _heard: rules.FULL_FRAMES)):
                rules.frames_for = frames
                began = time.monotonic()
                passage = whisper.recognise(window, english, whisper.request(0, threading.Event()))
                took[way].append((time.monotonic() - began) * 1000)
                said[way] = passage.text if passage else ""
        rules.frames_for = short
        rows.append(
            {
                "short_ms": round(statistics.median(took["short"])),
                "full_ms": round(statistics.median(took["full"])),
                "heard_short": said["short"],
                "heard_30s": said["full"],
            }
        )
    return rows


if __name__ == "__main__":
    main()
