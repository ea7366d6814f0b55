"""Picking the next token: the likeliest, or drawn as likely as it is."""

from __future__ import annotations

import numpy as np
import pytest

from services.llm.sampling import Picker
from services.llm.vocabulary import Sampling

pytestmark = pytest.mark.unit

LOGITS = np.array([0.0, 3.0, 2.0, 1.0, -5.0], np.float32)


def drawn(times: int = 400, **how: float) -> list[int]:
    picker = Picker(Sampling(seed=3, **how))  # type: ignore[arg-type]
    past = np.array([1, 1], np.int32) if picker.penalises else None
    return [picker.pick(LOGITS, past=past) for _ in range(times)]


def test_the_likeliest_token_at_temperature_zero() -> None:
    assert set(drawn(5, temperature=0)) == {1}
    assert set(drawn(5, temperature=0, frequency_penalty=2.0)) == {2}
    assert set(drawn(5, temperature=0, repeat_penalty=2.0)) == {2}
    assert set(drawn(5, temperature=0, presence_penalty=0.5)) == {1}


@pytest.mark.parametrize("temperature", [1e-300, 1e-8, 1e-5, 1.1e-4])
@pytest.mark.parametrize("more", [{}, {"frequency_penalty": 0.1}, {"top_p": 0.5}, {"top_k": 1}])
def test_next_to_no_temperature_is_the_likeliest_token(
    temperature: float, more: dict[str, float]
) -> None:
    assert set(drawn(20, temperature=temperature, **more)) == {1}


def test_tokens_are_drawn_as_likely_as_they_are() -> None:
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    counts = np.bincount(drawn(4000, temperature=1.0), minlength=5) / 4000
    assert np.abs(counts - expected).max() < 0.03
    assert set(drawn(top_k=2)) == {1, 2}
    assert set(drawn(top_p=0)) == set(drawn(top_p=0, frequency_penalty=0.1)) == {1}
    assert set(drawn(top_p=0.5)) == {1}
    assert set(drawn(top_p=0.8)) == {1, 2}
    flat = np.bincount(drawn(4000, temperature=2.0), minlength=5) / 4000
    assert flat[1] < counts[1]


@pytest.mark.parametrize(
    "how", [{"temperature": 0}, {"temperature": 0.7}, {"top_k": 3}, {"repeat_penalty": 1.5}]
)
def test_a_seed_draws_the_same_whatever_order_the_tokens_come_in(how: dict[str, float]) -> None:
    logits = np.random.default_rng(1).normal(0, 3, 50).astype(np.float32)
    ids = logits.argsort()[::-1].astype(np.int32)
    one, other = (Picker(Sampling(seed=3, **how)) for _ in range(2))  # type: ignore[arg-type]
    past = ids[:2] if one.penalises else None
    for _ in range(200):
        assert one.pick(logits, past=past) == other.pick(logits[ids], ids, past)


def test_a_seed_repeats_and_none_does_not() -> None:
    assert drawn() == drawn()
    one, other = (Picker(Sampling()) for _ in range(2))
    assert [one.pick(LOGITS) for _ in range(200)] != [other.pick(LOGITS) for _ in range(200)]
