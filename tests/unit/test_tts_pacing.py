"""The first piece comes soon and playback never runs dry, on fast machines and slow ones."""

from __future__ import annotations

import pytest

from services.tts.pacing import Lead, Speed, next_piece

pytestmark = pytest.mark.unit

FRAME_S = 256 / 22050
MARGIN = 26.0
UNHEARD = 7


class Listener:
    """Plays what is sent and counts the time for which there was nothing to play."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lead = Lead(lambda: self.now_s)
        self.first_s = 0.0
        self.dry_s = 0.0

    def work(self, seconds: float) -> None:
        self.now_s += seconds

    def hear(self, frames: int) -> None:
        left = self.lead.seconds
        if left is None:
            self.first_s = self.now_s
            frames -= UNHEARD
        else:
            self.dry_s = max(self.dry_s, -left)
        self.lead.sent(frames * FRAME_S)


def speak(length: int, cost: float, guess: float) -> tuple[Listener, list[int]]:
    """A sentence on a machine that needs ``cost`` seconds for a second of sound."""
    speed, listener = Speed(FRAME_S, MARGIN, guess), Listener()
    made: list[int] = []
    while sum(made) < length:
        frames = next_piece(speed, listener.lead, made[-1] if made else 0, length - sum(made))
        took_s = (frames + MARGIN) * FRAME_S * cost
        listener.work(took_s)
        speed.took(frames, took_s)
        listener.hear(frames)
        made.append(frames)
    return listener, made


@pytest.mark.parametrize("cost", [0.02, 0.08, 0.2, 0.4, 0.6, 0.9])
def test_playback_does_not_run_dry(cost: float) -> None:
    listener, made = speak(570, cost, cost)
    assert sum(made) == 570
    assert listener.dry_s == 0


@pytest.mark.parametrize("cost", [0.02, 0.08, 0.2, 0.4, 0.6])
def test_a_guess_that_is_a_third_too_low_does_no_harm(cost: float) -> None:
    assert speak(570, cost * 1.35, cost)[0].dry_s == 0


def test_a_fast_machine_begins_at_once_and_grows() -> None:
    listener, made = speak(570, 0.05, 0.05)
    assert made[0] == 16
    assert made == sorted(made[:-1]) + made[-1:]
    assert max(made) <= 192
    assert listener.first_s < 0.05


def test_a_machine_slower_than_speech_makes_it_whole() -> None:
    assert speak(570, 1.2, 1.2)[1] == [570]


def test_no_crumb_is_left_at_the_end() -> None:
    for length in range(1, 400):
        _listener, made = speak(length, 0.05, 0.05)
        assert sum(made) == length
        assert len(made) == 1 or made[-1] >= 8


def test_a_file_is_made_in_long_pieces() -> None:
    assert next_piece(Speed(FRAME_S, MARGIN, 0.05), None, 0, 1000) == 128


def test_one_slow_moment_is_soon_forgotten() -> None:
    speed = Speed(FRAME_S, MARGIN, 0.05)
    speed.took(128, (128 + MARGIN) * FRAME_S * 4)
    assert not speed.keeps_up
    for _sentence in range(4):
        speed.took(400, (400 + MARGIN) * FRAME_S * 0.05)
    assert speed.keeps_up


def test_a_machine_that_slows_down_is_noticed() -> None:
    speed = Speed(FRAME_S, MARGIN, 0.05)
    before = speed.first()
    for _piece in range(20):
        speed.took(16, (16 + MARGIN) * FRAME_S * 0.4)
    assert speed.first() > 2 * before
