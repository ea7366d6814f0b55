"""The real voice in pieces against the real voice whole, sample by sample."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.audio import Samples
from appliance.settings import PROJECT_DIR
from services.tts.cores import Cores, Order
from services.tts.cutting import cut
from services.tts.pacing import Lead, Speed
from services.tts.stages import Stages, Tensors, load_session
from services.tts.voice import Voice
from tests.results import note
from tests.waiting import until

pytestmark = pytest.mark.services

MODEL = PROJECT_DIR / ".cache/models/en_US-joe-medium/en_US-joe-medium.onnx"
HOP = 256
WAIT_S = 30.0
FILES = {"model": MODEL, "config": Path(f"{MODEL}.json")}
TEXT = "Whoever waits for an answer hears the first word while the last one is still being made."


def asked(noise: float) -> Tensors:
    from piper import PiperVoice
    from piper.config import PiperConfig

    described = PiperConfig.from_dict(json.loads(FILES["config"].read_text(encoding="utf-8")))
    piper = PiperVoice(config=described, session=None)
    ids = piper.phonemes_to_ids(piper.phonemize(TEXT)[0])
    return {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([noise, 1.0, noise], np.float32),
    }


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def test_nobody_can_hear_that_it_was_made_in_pieces() -> None:
    stages = Stages(cut(MODEL.read_bytes()))
    stages.probe(asked(0.5))
    # Without noise, the whole model says the same each time.
    whole = np.asarray(load_session(str(MODEL)).run(None, asked(0.0))[0], np.float32).reshape(-1)
    sentence = stages.sentence(asked(0.0))
    sizes, parts, done = [16, 24, 48, 96, 128, 1000], [], 0
    for size in sizes:
        end = min(done + size, sentence.length)
        parts.append(sentence.samples(done, end))
        done = end
    made = np.concatenate(parts)
    assert made.shape == whole.shape
    error = rms(made - whole) / rms(whole)
    note("tts in pieces against whole", rms_error=error, pieces=sizes)
    # A sixteen-bit sample is worth 3e-5 of full scale.
    assert error < 1e-4
    # Drawn with noise: the same frames, decoded in one go and in pieces.
    drawn = stages.sentence(asked(0.667))
    one = drawn.samples(0, drawn.length)
    other = np.concatenate(
        [drawn.samples(at, min(at + 20, drawn.length)) for at in range(0, drawn.length, 20)]
    )
    assert rms(one - other) / rms(one) < 1e-4


@pytest.fixture
def joe() -> Voice:
    """A voice on a machine with nothing else to do."""
    voice = Voice("joe", FILES, 1.0, Cores(1))
    assert voice._staged is not None
    voice._staged = (voice._staged[0], Speed(HOP / voice.rate_hz, 26.0, 0.05))
    return voice


def test_a_sentence_is_heard_before_it_is_complete(joe: Voice) -> None:
    pieces = list(joe.speak(TEXT, 1.0, Order()))
    assert len(pieces) > 2
    assert len(pieces[0]) == 16 * HOP < sum(map(len, pieces[1:]))
    assert rms(pieces[1]) > 0.01


def test_a_stop_is_seen_between_two_pieces(joe: Voice) -> None:
    order = Order()
    pieces = joe.speak(" ".join([TEXT.removesuffix(".")] * 3), 1.0, order)
    heard = [next(pieces)]
    order.stop.set()
    heard += pieces
    assert len(heard) == 1
    assert len(heard[0]) == 16 * HOP


def waited_for(
    voice: Voice, pieces: Iterator[Samples], meanwhile: Callable[[], None]
) -> list[Samples]:
    """The next piece, if there is one, whose core was taken until something had happened."""
    got: list[Samples] = []
    asking = threading.Thread(target=lambda: got.extend(itertools.islice(pieces, 1)))
    with voice._cores.place(Order()):
        asking.start()
        until(lambda: len(voice._cores._waiting) == 1)
        meanwhile()
    asking.join(WAIT_S)
    assert not asking.is_alive()
    return got


def test_a_piece_is_as_long_as_the_lead_allows_once_its_core_is_free(joe: Voice) -> None:
    clock = [0.0]
    order = Order(lead=Lead(lambda: clock[0]))
    pieces = joe.speak(TEXT, 1.0, order)
    next(pieces)
    order.lead.sent(5.0)

    def the_lead_is_heard() -> None:
        clock[0] = 5.0

    (samples,) = waited_for(joe, pieces, the_lead_is_heard)
    assert len(samples) == 16 * HOP


def test_what_was_stopped_while_it_waited_is_not_begun(
    joe: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Tensors] = []
    monkeypatch.setattr(Stages, "_draw", lambda _self, asked: drawn.append(asked))
    order = Order()
    assert waited_for(joe, joe.speak(TEXT, 1.0, order), order.stop.set) == []
    assert drawn == []


def test_gain_is_fixed_and_never_overflows() -> None:
    loud, soft = (Voice("joe", FILES, gain, Cores(1)) for gain in (4.0, 0.1))
    levels = [np.concatenate(list(v.speak(TEXT, 1.0, Order()))) for v in (loud, soft)]
    assert float(np.abs(levels[0]).max()) == 1.0
    assert rms(levels[0]) > 5 * rms(levels[1])
