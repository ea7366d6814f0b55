"""What is said by synthetic callers, and what is made of their figures."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from appliance.cli import bench
from appliance.errors import BadInput, NotFound
from appliance.headset import RATE_HZ, Clip
from appliance.measuring import results
from appliance.measuring.chart import chart
from appliance.measuring.figures import SPOKE_ON, Turn, figures, percentile, ratios, summary
from appliance.measuring.plan import RECORDINGS, Plan, Voices, calls_of, with_pause
from appliance.settings import Settings
from bench.admission import Storm

pytestmark = pytest.mark.unit


def _clip(name: str, gap_at_s: float = 0.5) -> Clip:
    """One second of tone, with 100 ms of silence around ``gap_at_s``."""
    seconds = np.arange(RATE_HZ) / RATE_HZ
    samples = (np.sin(seconds * 1500) * 0.3).astype(np.float32)
    samples[np.abs(seconds - gap_at_s) < 0.05] = 0
    return Clip(name, samples, 0.0, 1.0)


VOICES = Voices(tuple(_clip(f"q{n}") for n in range(4)), _clip("story"), _clip("wait"))


def test_a_percentile_lies_between_its_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 50) == 2.5
    assert percentile(list(range(101)), 90) == 90
    assert percentile([7], 99) == 7
    assert summary([None, 10, 20]) == {
        "n": 2, "p50": 15.0, "p90": 19.0, "p99": 19.9, "min": 10, "max": 20,
    }  # fmt: skip
    assert summary([None]) is None


def test_no_percentile_of_the_admission_is_beyond_its_longest() -> None:
    found = Storm(busy_ms=[10.0, 20.04]).as_json()
    assert found["busy_ms"] == {
        "n": 2, "p50": 15.0, "p90": 19.0, "p99": 19.9, "min": 10.0, "max": 20.0,
    }  # fmt: skip
    assert found["admitted_ms"] is None


def test_each_room_begins_with_another_recording_and_hangs_up_in_time() -> None:
    plan = Plan(rooms=2, turns=6, pauses=2, barge_ins=1, per_call=4)
    first, second = (calls_of(plan, VOICES, room) for room in (0, 1))
    assert [len(call) for call in first] == [4, 4, 1]
    assert [deed.clip.name for deed in first[0]] == ["q0", "q1", "q2", "q3"]
    assert [deed.clip.name for deed in second[0]] == ["q2", "q3", "q0", "q1"]
    kinds = [deed.kind for call in first for deed in call]
    assert kinds == ["question"] * 6 + ["pause"] * 2 + ["barge_in"]
    assert first[2][0].clip.name == "story"
    assert first[2][0].over is VOICES.over


def test_a_pause_is_laid_where_the_recording_is_quietest() -> None:
    clip = _clip("q", gap_at_s=0.62)
    paused = with_pause(clip, 0.4)
    assert len(paused.samples) == len(clip.samples) + round(0.4 * RATE_HZ)
    assert paused.voiced_to_s == pytest.approx(1.4)
    silent = np.nonzero(paused.samples[RATE_HZ // 10 :] == 0)[0] + RATE_HZ // 10
    # Half of the recording's own gap lies before the pause, half behind it.
    assert silent[0] / RATE_HZ == pytest.approx(0.57, abs=0.01)
    assert silent[-1] / RATE_HZ == pytest.approx(1.07, abs=0.01)
    spoken = np.delete(paused.samples, np.s_[silent[0] : silent[0] + round(0.4 * RATE_HZ)])
    assert np.array_equal(spoken, clip.samples)


def test_the_own_recordings_are_questions_a_long_one_and_an_interruption() -> None:
    voices = Voices.read(RECORDINGS)
    assert len(voices.questions) >= 5
    assert (voices.long.name, voices.over.name) == ("story.flac", "wait.flac")


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(BadInput, match="no recording"):
        Voices.read(tmp_path)


def _turn(side: str = "ours", at_ear: int | None = 900, **more: object) -> Turn:
    ms = {"transcript": 300, "at_ear": at_ear}
    return Turn(side, 0, 0, **{"kind": "question", "file": "q", "ms": ms, **more})  # type: ignore[arg-type]


def test_only_answers_to_whole_questions_count() -> None:
    found = figures(
        [
            _turn(at_ear=800), _turn(at_ear=1000), _turn(at_ear=None, why="No answer was heard."),
            _turn(at_ear=-200, early=True), _turn(kind="pause", at_ear=5000),
            _turn(kind="pause", early=True),
            _turn(kind="pause", at_ear=None, why="No answer was heard."), _turn(kind="barge_in", ms={"silence": 400}),
            _turn(kind="barge_in", ms={}, why=SPOKE_ON),
            _turn(kind="barge_in", ms={}, why="No answer was heard."),
        ]
    )  # fmt: skip
    assert found["at_ear_ms"]["p50"] == 900
    assert found["p90_over_p50"] == round(980 / 900, 2)
    assert found["questions"] == {"asked": 4, "answered": 2, "cut_into": 1}
    assert found["pauses"] == {"made": 3, "spoken_into": 1, "failed": 1}
    assert found["barge_ins"] == {"made": 3, "silenced": 1, "never_silent": 1}
    assert found["silence_ms"]["n"] == 1
    assert found["first_token_ms"] is None


def test_a_ratio_is_ours_by_theirs() -> None:
    ours, stock = figures([_turn(at_ear=500)]), figures([_turn("stock", at_ear=1000)])
    assert ratios(ours, stock) == {"at_ear_p50": 0.5, "at_ear_p90": 0.5}
    assert ratios(ours, figures([])) == {}
    fast, slow = {"llm": {"tokens_per_s": 30.0}}, {"llm": {"tokens_per_s": 20.0}}
    assert ratios(ours | fast, stock | slow)["tokens_per_s"] == 1.5
    assert "tokens_per_s" not in ratios(ours | fast, stock | {"llm": None})


def measured() -> dict[str, object]:
    """As much of a result as is shown."""
    return {
        "when": "2026-11-22T00:00:00Z",
        "ours": figures([_turn(at_ear=800), _turn(at_ear=1200)]),
        "stock": figures([_turn("stock", at_ear=1700)]),
        "plan": {"rooms": 2, "overlap": False},
    }


def test_the_picture_shows_both_sides() -> None:
    drawn = chart(measured())
    nodes = Xml.fromstring(drawn).iter()  # noqa: S314 - made one line above
    texts = [node.text for node in nodes if node.tag.endswith("text")]
    assert {"ours", "stock", "heard", "words known", "1000 / 1160", "1700 / 1700"} <= set(texts)
    assert "first token" not in texts
    assert "After the first sound spoken into an answer:" not in texts


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({"callers_beside": 0, "broken_off": False}, "2 answers"), ({}, "2 answers"),
        ({"broken_off": True}, "2 answers; broken off"),
        ({"callers_beside": 1}, "2 answers; other callers on the line"),
        (
            {"callers_beside": 1, "broken_off": True},
            "2 answers; broken off; other callers on the line",
        ),
    ],
)  # fmt: skip
def test_a_picture_says_why_it_is_not_whole(more: dict[str, object], end: str) -> None:
    nodes = list(Xml.fromstring(chart({**measured(), **more})).iter())  # noqa: S314 - made here
    titled = [node.text or "" for node in nodes if node.tag.endswith(("title", "text"))][:2]
    assert all(text.endswith(end) for text in titled), titled


def test_silence_counts_from_another_moment_and_has_its_own_heading(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [_turn(), _turn(kind="barge_in", ms={"silence": 400})]
    whole = {**measured(), "ours": figures(turns), "ratio": {}, "callers_beside": 0}
    nodes = Xml.fromstring(chart(whole)).iter()  # noqa: S314 - made here
    texts = [node.text for node in nodes if node.tag.endswith("text")]
    place = texts.index("After the first sound spoken into an answer:")
    assert texts[place + 1 :] == ["silent", "400 / 400"]
    monkeypatch.setenv("COLUMNS", "120")
    machine = {"memory_mb": {"total": 1}, "cpu_percent": None, "gpu_percent": None, "llm": None}
    bench._show({**whole, "ours": figures(turns) | machine, "stock": figures([_turn()]) | machine})
    _before, after = capsys.readouterr().out.split("ms after the first sound spoken into an answer")
    assert "silent" in after
    assert "silent" not in _before


def test_results_are_kept_listed_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "KEPT", 2)
    folder = results.folder_of(Settings(data_dir=tmp_path))
    results.writable(folder)
    path = folder
    for second in (1, 2, 3):
        monkeypatch.setattr("time.strftime", lambda *_, n=second: f"20261122-00000{n}")
        path = results.write(folder, measured())
    results.tidy(folder)
    found = results.names(folder)
    assert [name[6:21] for name in found] == ["20261122-000003", "20261122-000002"]
    assert found[0] == path.stem
    assert len(list(folder.glob("*.svg"))) == 2
    assert results.read(folder, found[0]) == json.loads(json.dumps(measured()))


def test_what_a_crash_left_goes(tmp_path: Path) -> None:
    path = results.write(tmp_path, measured())
    (tmp_path / "calls-20261122-000009-abcd.svg").touch()
    (tmp_path / f".{path.name}.123").touch()
    results.tidy(tmp_path)
    assert set(tmp_path.iterdir()) == {path, path.with_suffix(".svg")}


@pytest.mark.parametrize("name", ["../secrets/x", "calls-20261122-000009-abcd", ""])
def test_a_result_that_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        results.read(tmp_path, name)


def test_a_result_that_is_damaged_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "calls-20261122-000009-abcd.json").write_text('{"ours": ')
    with pytest.raises(NotFound):
        results.read(tmp_path, "calls-20261122-000009-abcd")


def test_a_folder_that_cannot_be_written_is_told_before_the_calls(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        results.writable(tmp_path / "file")
