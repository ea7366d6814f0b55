"""Samples in and out of files, at any rate, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.audio import (
    Format,
    Pcm,
    StreamResampler,
    clean,
    decode_audio,
    encode_audio,
    read_audio,
    to_s16le,
    wav_header,
    write_wav,
)
from appliance.errors import BadInput, TooLarge

pytestmark = pytest.mark.unit


def tone(seconds: float, rate_hz: int = 24_000, level: float = 0.5) -> Pcm:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return Pcm((level * np.sin(2 * np.pi * 440 * times)).astype(np.float32), rate_hz)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus"])
def test_a_sound_survives_each_format(kind: Format) -> None:
    sound = tone(20)
    back = decode_audio(encode_audio(sound, kind))
    assert back.duration_s == pytest.approx(20, abs=0.1)
    assert rms(back.samples) == pytest.approx(rms(sound.samples), rel=0.01)


def test_wav_is_exact_to_the_bit(tmp_path: Path) -> None:
    sound = tone(1)
    write_wav(tmp_path / "a.wav", sound)
    assert read_audio(tmp_path / "a.wav").to_s16le() == sound.to_s16le()


def test_a_streams_header_is_read_by_others() -> None:
    sound = tone(1)
    assert decode_audio(wav_header(24_000) + sound.to_s16le()).duration_s == 1.0


def test_stereo_becomes_its_mean_and_infinity_stays_in_its_channel(tmp_path: Path) -> None:
    import soundfile

    both = np.array([[0.5, 0.1], [np.inf, 0.0], [np.nan, 0.4]], np.float32)
    soundfile.write(tmp_path / "a.wav", both, 16_000, subtype="FLOAT")
    assert read_audio(tmp_path / "a.wav").samples.tolist() == pytest.approx([0.3, 0.5, 0.2])


def test_wild_samples_are_tamed() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.25], np.float32)
    assert clean(wild).tolist() == [0.0, 1.0, -1.0, 1.0, -1.0, 0.25]
    assert np.frombuffer(to_s16le(wild), "<i2").tolist() == [
        0, 32767, -32768, 32767, -32768, 8192,
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\0" * 1000, b"ID3" + b"\xff" * 200, b"OggS" * 50])
def test_garbage_is_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_audio(data)


def test_no_samples_and_too_many() -> None:
    with pytest.raises(BadInput) as empty:
        decode_audio(encode_audio(tone(0), "wav"))
    assert empty.value.code == "audio_empty"
    for kind in ("wav", "mp3"):
        with pytest.raises(TooLarge):
            decode_audio(encode_audio(tone(4), kind), max_s=3)


def test_a_missing_file_and_half_a_sample(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no\.wav"):
        read_audio(tmp_path / "no.wav")
    with pytest.raises(BadInput):
        Pcm.from_s16le(b"\0\0\0", 16_000)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 24_000, 96_000])
def test_resampling_keeps_length_and_loudness(rate_hz: int) -> None:
    sound = tone(2, rate_hz).resampled(24_000)
    assert sound.duration_s == pytest.approx(2, abs=0.001)
    assert rms(sound.samples) == pytest.approx(rms(tone(2).samples), rel=0.01)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
def test_pieces_resample_like_the_whole(rate_hz: int) -> None:
    sound, stream = tone(2, rate_hz), StreamResampler(rate_hz, 24_000)
    pieces = [stream.push(piece) for piece in np.array_split(sound.samples, 7)]
    joined = np.concatenate([*pieces, stream.flush()])
    whole = sound.resampled(24_000).samples
    assert len(joined) == len(whole)
    assert float(np.max(np.abs(joined - whole))) < 1e-3
