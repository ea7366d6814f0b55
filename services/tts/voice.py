"""One loaded Piper voice: sentences in, their sound out in pieces."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from appliance import logs
from appliance.audio import Samples, clean
from appliance.errors import ApplianceError
from services.tts.cores import Cores, Order
from services.tts.cutting import cut
from services.tts.onnx_file import NotOnnx
from services.tts.pacing import Speed, next_piece
from services.tts.stages import Stages, Tensors, load_session

log = logs.get(__name__)

_PROBE = "One, two, three."


class Voice:
    """A voice whose sentences are made in pieces, or whole if its file cannot be cut.

    May be used by several threads at once.

    Raises:
        ApplianceError: its files cannot be used.
    """

    def __init__(self, voice_id: str, files: dict[str, Path], gain: float, cores: Cores) -> None:
        self.id = voice_id
        self._gain = gain
        self._cores = cores
        try:
            self._piper = _piper(files["config"])
            self._staged = self._in_stages(files["model"])
            if self._staged is None:
                self._piper.session = load_session(str(files["model"]))
        except Exception as error:
            # onnxruntime's errors share no base class of their own.
            log.error("voice_unreadable", voice=voice_id, error=type(error).__name__)
            raise ApplianceError(
                "voice_unreadable", f"The voice {voice_id!r} cannot be loaded.",
                f"`scripts/appliance models verify {voice_id}` checks its files.",
            ) from error  # fmt: skip

    @property
    def rate_hz(self) -> int:
        """Rate of its samples."""
        return int(self._piper.config.sample_rate)

    def speak(self, text: str, speed: float, order: Order) -> Iterator[Samples]:
        """Samples at the voice's own rate, made as they are asked for, until ``order`` stops."""
        for phonemes in self._piper.phonemize(text):
            if not phonemes or order.stop.is_set():
                continue
            asked = self._asked(phonemes, speed)
            made = (
                self._whole(asked, order) if self._staged is None
                else self._pieces(*self._staged, asked, order)
            )  # fmt: skip
            for samples in made:
                yield clean(samples * self._gain)

    def _pieces(
        self, stages: Stages, pace: Speed, asked: Tensors, order: Order
    ) -> Iterator[Samples]:
        with self._cores.place(order):
            if order.stop.is_set():
                return
            sentence = stages.sentence(asked)
        done = before = 0
        heard = order.lead if order.heard else None
        while done < sentence.length:
            with self._cores.place(order):
                if order.stop.is_set():
                    return
                # Chosen only now: the wait for a core has used up some of the lead.
                before = next_piece(pace, heard, before, sentence.length - done)
                started = time.monotonic()
                samples = sentence.samples(done, done + before)
                pace.took(before, time.monotonic() - started)
            done += before
            yield samples

    def _whole(self, asked: Tensors, order: Order) -> Iterator[Samples]:
        with self._cores.place(order):
            if order.stop.is_set():
                return
            sound = self._piper.session.run(None, asked)[0]
        yield np.asarray(sound, np.float32).reshape(-1)

    def _asked(self, phonemes: list[str], speed: float) -> Tensors:
        """The model's inputs, as Piper's own ``phoneme_ids_to_audio`` fills them."""
        config = self._piper.config
        ids = self._piper.phonemes_to_ids(phonemes)
        scales = (config.noise_scale, config.length_scale / speed, config.noise_w_scale)
        asked: Tensors = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        if config.num_speakers > 1:
            asked["sid"] = np.array([config.default_speaker_id], np.int64)
        return asked

    def _in_stages(self, model: Path) -> tuple[Stages, Speed] | None:
        try:
            stages = Stages(cut(model.read_bytes()))
            phonemes = self._piper.phonemize(_PROBE)
            frame_work_s = stages.probe(self._asked(phonemes[0] if phonemes else [], 1.0))
        except Exception as error:  # noqa: BLE001  onnxruntime's errors share no base class
            # The file may still be good for whole sentences.
            why = str(error) if isinstance(error, NotOnnx) else type(error).__name__
            log.warning("voice_not_cut", voice=self.id, why=why)
            return None
        frame_s = stages.hop / self.rate_hz
        return stages, Speed(frame_s, stages.margin, frame_work_s / frame_s)


def _piper(config: Path) -> Any:
    """Piper's own text side, without a model."""
    from piper import PiperVoice
    from piper.config import PiperConfig

    # Below info Piper logs what is said.
    logging.getLogger("piper").setLevel(logging.WARNING)
    described = PiperConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
    return PiperVoice(config=described, session=None)
