"""Mono samples with their rate; audio files in and out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from appliance.errors import BadInput, TooLarge

Samples = NDArray[np.float32]
Format = Literal["wav", "flac", "mp3", "opus"]

OPUS_RATE_HZ = 48_000
_FULL_SCALE = 32768.0
_BLOCK = 1 << 16
_WRITERS: dict[str, dict[str, str]] = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}


@dataclass(frozen=True, eq=False)
class Pcm:
    """Sound: mono, float32 in [-1, 1]."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz

    def resampled(self, rate_hz: int) -> Pcm:
        """The same sound at another rate."""
        if rate_hz == self.rate_hz:
            return self
        samples = soxr.resample(self.samples, self.rate_hz, rate_hz)
        return Pcm(np.asarray(samples, np.float32), rate_hz)

    @classmethod
    def from_s16le(cls, data: bytes, rate_hz: int) -> Pcm:
        """Sound from raw 16-bit little-endian samples.

        Raises:
            BadInput: the last sample is cut in half.
        """
        if len(data) % 2:
            raise BadInput(
                "audio_cut", "The raw audio ends in the middle of a sample.",
                "Send 16-bit little-endian mono samples.",
            )  # fmt: skip
        return cls(np.frombuffer(data, "<i2").astype(np.float32) / _FULL_SCALE, rate_hz)

    def to_s16le(self) -> bytes:
        """Raw 16-bit little-endian samples, clipped."""
        return to_s16le(self.samples)


def to_s16le(samples: Samples) -> bytes:
    """Float samples as raw 16-bit little-endian ones, clipped."""
    scaled = np.clip(np.rint(clean(samples) * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return bytes(scaled.astype("<i2").tobytes())


def clean(samples: NDArray[Any]) -> Samples:
    """Finite samples in [-1, 1]: NaN becomes silence, infinities and peaks are clipped."""
    finite = np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(finite, -1.0, 1.0)


def decode_audio(data: bytes, *, max_s: float = 3600.0) -> Pcm:
    """A wav, flac, mp3 or ogg file in memory as mono samples at its own rate.

    Raises:
        BadInput: it is not such a file, or holds no sample.
        TooLarge: it is longer than ``max_s`` seconds.
    """
    return _read(io.BytesIO(data), max_s)


def read_audio(path: Path, *, max_s: float = 3600.0) -> Pcm:
    """A wav, flac, mp3 or ogg file as mono samples at its own rate.

    Raises:
        BadInput: it is missing, not such a file, or holds no sample.
        TooLarge: it is longer than ``max_s`` seconds.
    """
    try:
        with path.open("rb") as file:
            return _read(file, max_s)
    except OSError as error:
        raise BadInput(
            "audio_missing", f"The audio file {path.name} cannot be opened.", "Check its name."
        ) from error


def _read(file: Any, max_s: float) -> Pcm:
    blocks: list[Samples] = []
    try:
        with soundfile.SoundFile(file) as sound:
            rate_hz, left = sound.samplerate, int(max_s * sound.samplerate)
            # In blocks: a header may promise more frames than memory holds. But soundfile seeks
            # after each read, which damages mp3 at the seams.
            size = min(sound.frames, left + 1) if sound.format == "MP3" else _BLOCK
            for block in sound.blocks(size, dtype="float32", always_2d=True):
                left -= len(block)
                if left < 0:
                    raise TooLarge(
                        "audio_too_long", f"The audio is longer than {max_s:g} s.", "Send less."
                    )
                # Each channel is cleaned before the mean, or one infinity would win.
                blocks.append(clean(block).mean(axis=1, dtype=np.float32))
    except soundfile.SoundFileError as error:
        raise BadInput(
            "audio_unreadable", "This is not an audio file that can be read.",
            "Send wav, flac, mp3 or ogg.",
        ) from error  # fmt: skip
    if not blocks:
        raise BadInput("audio_empty", "The audio file holds no sound.", "Record it again.")
    return Pcm(np.concatenate(blocks), rate_hz)


def encode_audio(pcm: Pcm, kind: Format) -> bytes:
    """Sound as a whole file; opus is resampled to 48 kHz."""
    if kind == "opus":
        pcm = pcm.resampled(OPUS_RATE_HZ)
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", pcm.rate_hz, 1, **_WRITERS[kind]) as sound:
        # In blocks, and as integers, because libsndfile scales floats by 32767.
        for start in range(0, len(pcm.samples), _BLOCK):
            sound.write(np.frombuffer(to_s16le(pcm.samples[start : start + _BLOCK]), np.int16))
    return target.getvalue()


def write_wav(path: Path, pcm: Pcm) -> None:
    """Write sound as a 16-bit wav file."""
    path.write_bytes(encode_audio(pcm, "wav"))


def wav_header(rate_hz: int) -> bytes:
    """A header for 16-bit mono samples whose number is not known yet, as streams use it."""
    unknown = 0xFFFFFFFF
    parts = (
        b"RIFF", unknown.to_bytes(4, "little"), b"WAVEfmt ", (16).to_bytes(4, "little"),
        (1).to_bytes(2, "little"), (1).to_bytes(2, "little"), rate_hz.to_bytes(4, "little"),
        (rate_hz * 2).to_bytes(4, "little"), (2).to_bytes(2, "little"),
        (16).to_bytes(2, "little"), b"data", unknown.to_bytes(4, "little"),
    )  # fmt: skip
    return b"".join(parts)


class StreamResampler:
    """Resamples sound that arrives in pieces, without a seam between them."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._same = from_hz == to_hz
        self._stream = None if self._same else soxr.ResampleStream(from_hz, to_hz, 1, "float32")

    def push(self, samples: Samples) -> Samples:
        """What is ready after these samples."""
        return self._chunk(samples, last=False)

    def flush(self) -> Samples:
        """The rest."""
        return self._chunk(np.zeros(0, np.float32), last=True)

    def _chunk(self, samples: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return samples
        ready = self._stream.resample_chunk(np.asarray(samples, np.float32), last=last)
        return np.asarray(ready, np.float32)
