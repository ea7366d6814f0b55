"""What is prepared ahead of time, when it is not, and what it cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.agent import speculation
from services.agent.speculation import Speculation, cpu_pressure

pytestmark = pytest.mark.unit


def test_an_answer_is_prepared_unless_the_words_break_off() -> None:
    idle = Speculation("en", lambda: 0.0)
    assert idle.may_answer("What is the capital of France?")
    assert not idle.may_answer("What is the capital of?")


def test_a_machine_without_time_prepares_no_answer() -> None:
    pressed = Speculation("en", lambda: 99.0)
    assert pressed.is_pressed
    assert not pressed.may_answer("What is the capital of France?")


def test_the_pressure_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def pressure() -> float:
        looks.append(99.0 if looks else 0.0)
        return looks[-1]

    looked = Speculation("en", pressure)
    assert not looked.is_pressed
    assert not looked.is_pressed
    monkeypatch.setattr(speculation, "_LOOK_EVERY_S", 0.0)
    assert looked.is_pressed


def test_the_kernel_says_how_long_work_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu"
    monkeypatch.setattr(speculation, "_PRESSURE", file)
    assert cpu_pressure() == 0
    file.write_text("some avg10=87.50 avg60=3.00 avg300=1.00 total=9\nfull avg10=0.00\n")
    assert cpu_pressure() == 87.5
    file.write_text("nonsense")
    assert cpu_pressure() == 0


def test_a_call_says_what_was_in_vain() -> None:
    call = Speculation("en", lambda: 0.0)
    for _ in range(3):
        call.begin("transcript")
    call.use("transcript")
    call.begin("reply")
    call.begin("prompt")
    with capture_logs() as lines:
        call.close()
    assert lines == [
        {
            "event": "speculation", "log_level": "info", "left_out": 0, "prompts_read": 1,
            "transcripts_begun": 3, "transcripts_wasted": 2, "replies_begun": 1,
            "replies_wasted": 1,
        }
    ]  # fmt: skip
