"""How far Whisper is trusted."""

from __future__ import annotations

import pytest

from services.stt import rules

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("heard", "frames"),
    [(0, 800), (100, 800), (600, 800), (601, 900), (1101, 1400), (2799, 3000), (9999, 3000)],
)
def test_mel_is_padded_to_eight_seconds_and_two_of_silence(heard: int, frames: int) -> None:
    assert rules.frames_for(heard) == frames


def test_token_cap_grows_with_the_sound() -> None:
    assert rules.token_cap(1) == 32
    assert rules.token_cap(1000) == 104


def test_compression_ratio_tells_a_loop_from_a_sentence() -> None:
    assert rules.compression_ratio("6 6 6 " * 40) > rules.REPETITIVE
    assert rules.compression_ratio("Had he married a more amiable woman.") < rules.REPETITIVE
    assert rules.compression_ratio("") == 0


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "invented"),
    [
        ("He was not an ill-disposed young man.", -0.2, 0.05, False),
        ("Ten of clubs.", -0.82, 0.55, False),
        ("I'm gonna do it.", -1.37, 0.58, True),
        ("I'm not sure.", -0.85, 0.7, True),
        ("Thank you.", -0.75, 0.3, True),
        ("Thank you.", -0.3, 0.1, False),
        (" .", -0.8, 0.2, True),
    ],
)
def test_text_made_up_from_noise_is_dropped(
    text: str, avg_logprob: float, no_speech_prob: float, invented: bool
) -> None:
    verdict = rules.is_invented(
        text, avg_logprob=avg_logprob, no_speech_prob=no_speech_prob, ratio=1.0, pace=3.5
    )
    assert verdict is invented


def test_a_loop_is_dropped_however_sure_the_model_is() -> None:
    sure = {"avg_logprob": -0.1, "no_speech_prob": 0.0}
    assert rules.is_invented("6 6 6", ratio=2.5, pace=20.0, **sure)


def test_what_someone_really_repeats_is_kept() -> None:
    sure = {"avg_logprob": -0.1, "no_speech_prob": 0.0}
    assert not rules.is_invented("No, no, no.", ratio=2.5, pace=3.5, **sure)
