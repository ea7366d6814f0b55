"""The recordings under tests/data, and how wrongly they were heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

DATA = Path(__file__).resolve().parent / "data"


def speech() -> list[dict[str, Any]]:
    """Recorded human speech with its words."""
    entries = json.loads((DATA / "speech" / "manifest.json").read_text(encoding="utf-8"))
    return [entry for entry in entries if not entry.get("kind")]


def error_rate(said: list[str], heard: list[str]) -> float:
    """Word error rate over all sentences, after Whisper's English normaliser."""
    normal = EnglishTextNormalizer()
    rate: float = jiwer.wer([normal(text) for text in said], [normal(text) for text in heard])
    return rate
