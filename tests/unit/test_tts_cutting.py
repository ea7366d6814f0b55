"""A voice is cut where its sound can be made in pieces, and the pieces are what the whole is."""

from __future__ import annotations

import numpy as np
import pytest

from services.tts.cutting import cut
from services.tts.onnx_file import NotOnnx, OnnxModel
from services.tts.stages import Stages, Tensors, load_session
from tests.onnx_models import HOP, voice

pytestmark = pytest.mark.unit


def asked(phonemes: int, *, noise: float = 0.0, speaker: int | None = None) -> Tensors:
    found: Tensors = {
        "input": (np.arange(phonemes) % 200)[None].astype(np.int64),
        "input_lengths": np.array([phonemes], np.int64),
        "scales": np.array([noise, 1.0, 0.0], np.float32),
    }
    if speaker is not None:
        found["sid"] = np.array([speaker], np.int64)
    return found


@pytest.mark.parametrize("speaker", [None, 0, 2])
@pytest.mark.parametrize("step", [1, 7, 16, 1000])
def test_pieces_are_the_whole(speaker: int | None, step: int) -> None:
    made = voice(speakers=0 if speaker is None else 3)
    question = asked(9, speaker=speaker)
    whole = load_session(made).run(None, question)[0].reshape(-1)
    stages = Stages(cut(made))
    stages.probe(question)
    sentence = stages.sentence(question)
    assert (stages.hop, sentence.length) == (HOP, 9 * 12)
    parts = [
        sentence.samples(start, min(start + step, sentence.length))
        for start in range(0, sentence.length, step)
    ]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-6)


def test_speakers_differ_after_the_cut() -> None:
    stages = Stages(cut(voice(speakers=3)))
    stages.probe(asked(3, speaker=0))
    one, other = (stages.sentence(asked(9, speaker=n)).samples(0, 40) for n in (0, 1))
    assert np.abs(one - other).max() > 0.01


def test_all_pieces_come_of_one_draw() -> None:
    stages = Stages(cut(voice()))
    stages.probe(asked(3))
    sentence = stages.sentence(asked(9, noise=1.0))
    first = sentence.samples(0, 50)
    assert np.array_equal(sentence.samples(0, 50), first)
    assert not np.array_equal(stages.sentence(asked(9, noise=1.0)).samples(0, 50), first)


def test_a_sentence_of_one_frame_less_than_a_reach() -> None:
    made = voice(speakers=2)
    stages = Stages(cut(made))
    stages.probe(asked(3, speaker=1))
    whole = load_session(made).run(None, asked(1, speaker=1))[0].reshape(-1)
    assert stages.sentence(asked(1, speaker=1)).samples(0, 12) == pytest.approx(whole, abs=1e-6)


def test_weights_go_to_the_stage_that_reads_them() -> None:
    parts = cut(voice())
    held = [set(OnnxModel.read(stage.model).weights) for stage in (parts.prior, parts.flow)]
    assert "letters" in held[0]
    assert held[1] == {"flow.weight"}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"not a model at all", b"\x08", b"\x3a\xff\xff\xff\xff\x0f", voice()[:-10],
        voice()[:200], voice(noise=False),
    ],
    ids=["empty", "text", "cut", "huge", "tail cut", "head only", "no noise"],
)  # fmt: skip
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(NotOnnx):
        cut(data)


def test_a_graph_that_is_no_voice() -> None:
    with pytest.raises(NotOnnx, match="no decoder"):
        cut(voice().replace(b"ConvTranspose", b"ConvTransport"))
