"""Uploaded files become 16 kHz mono, whatever they are."""

from __future__ import annotations

import io
import struct
from typing import Any

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import BadInput, TooLarge
from services.stt.decoding import container_of, decode
from services.stt.vocabulary import RATE_HZ, Samples

pytestmark = pytest.mark.unit

MOST_S = 100.0


def tone(seconds: float = 1.0, rate_hz: int = 16_000, channels: int = 1) -> Samples:
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def packed(samples: Any, rate_hz: int = 16_000, kind: str = "WAV", **how: Any) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, rate_hz, format=kind, **how)
    return file.getvalue()


def by_ffmpeg(container: str, codec: str, seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            tone(seconds, 48_000).T.copy(), format="fltp", layout="mono"
        )
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "mono", 48_000, frame_size=stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


def heard(raw: bytes, most_s: float = MOST_S) -> Samples:
    found = list(decode(io.BytesIO(raw), most_s))
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def frequency_hz(samples: Samples) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * RATE_HZ / samples.size


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels(rate_hz: int, channels: int) -> None:
    samples = heard(packed(tone(1.0, rate_hz, channels), rate_hz))
    assert samples.size == pytest.approx(RATE_HZ, abs=32)
    assert frequency_hz(samples) == pytest.approx(440, abs=3)
    assert float(np.abs(samples[2000:-2000]).max()) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("WAV", {"subtype": "PCM_U8"}),
        ("WAV", {"subtype": "PCM_24"}),
        ("WAV", {"subtype": "FLOAT"}),
        ("WAV", {"subtype": "ULAW"}),
        ("FLAC", {}),
        ("OGG", {"subtype": "VORBIS"}),
        ("OGG", {"subtype": "OPUS"}),
        ("MP3", {}),
        ("AIFF", {}),
        ("CAF", {}),
        ("RF64", {}),
    ],
)
def test_formats_of_libsndfile(kind: str, how: dict[str, str]) -> None:
    samples = heard(packed(tone(2.0)[:, 0], 16_000, kind, **how))
    assert samples.size == pytest.approx(2 * RATE_HZ, abs=2600)
    assert frequency_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("webm", "libopus"),
        ("matroska", "libopus"),
        ("ogg", "libopus"),
        ("mp4", "aac"),
        ("adts", "aac"),
        ("wav", "adpcm_ima_wav"),
        ("mp3", "libmp3lame"),
    ],
)
def test_formats_of_ffmpeg(container: str, codec: str) -> None:
    samples = heard(by_ffmpeg(container, codec))
    assert samples.size == pytest.approx(RATE_HZ, abs=3300)
    assert frequency_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
def test_what_is_no_number_becomes_silence_and_what_is_too_loud_is_clipped(bad: float) -> None:
    samples = tone()
    samples[::2] = bad
    found = heard(packed(samples, subtype="FLOAT"))
    assert np.isfinite(found).all()
    assert float(np.abs(found).max()) <= 1.0


def test_ten_milliseconds_and_no_samples() -> None:
    assert heard(packed(tone(0.01))).size == pytest.approx(160, abs=2)
    assert heard(packed(tone(0))).size == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"RIFF",
        b"hello, this is not sound at all, but it is long enough",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\nfile:///etc/passwd\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        b"RIFF\xff\xff\xff\xffWAVE" + bytes(200),
        b"fLaC" + bytes(300),
        b"OggS" + bytes(300),
        b"\x1aE\xdf\xa3" + bytes(300),
        b"\0\0\0\x18ftypmp42" + bytes(300),
        b"ID3" + b"\xff" * 300,
        b"<!DOCTYPE html><html></html>",
    ],
)
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        heard(raw)
    assert caught.value.code == "audio_unreadable"


def test_an_empty_file_is_named_so() -> None:
    with pytest.raises(BadInput) as caught:
        heard(b"")
    assert caught.value.code == "audio_empty"


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_that_breaks_off_is_heard_as_far_as_it_goes(kind: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 40 * 16_000).astype(np.float32)
    raw = packed(noise[: 40 * 16_000 if kind == "OGG" else 10 * 16_000], 16_000, kind)
    samples = heard(raw[: len(raw) // 2])
    assert 4 * RATE_HZ < samples.size < 25 * RATE_HZ


def test_a_streamed_wav_whose_header_knows_no_length() -> None:
    raw = bytearray(packed(tone(1.0)[:, 0], subtype="PCM_16"))
    raw[4:8] = raw[40:44] = b"\xff\xff\xff\xff"
    assert heard(bytes(raw)).size == RATE_HZ


def test_a_header_with_impossible_numbers_is_refused() -> None:
    for channels, rate_hz in ((0, 16_000), (1, 0), (1, 1), (1, 2**31), (2000, 16_000)):
        header = (
            b"RIFF"
            + struct.pack("<I", 2036)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, (rate_hz * 2) & 0xFFFFFFFF, 2, 16)
        )
        with pytest.raises(BadInput):
            heard(header + b"data" + struct.pack("<I", 2000) + bytes(2000))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_too_long_is_refused_before_it_is_decoded(kind: str) -> None:
    raw = packed(np.zeros(30 * 8000, np.float32), 8_000, kind)
    with pytest.raises(TooLarge):
        next(decode(io.BytesIO(raw), 20.0))


def test_a_flac_bomb_is_given_out_in_small_blocks() -> None:
    raw = packed(np.zeros(90 * 96_000, np.float32), 96_000, "FLAC")
    assert len(raw) < 200_000
    assert max(block.size for block in decode(io.BytesIO(raw), MOST_S)) <= 6 * RATE_HZ


def test_limits_hold_where_no_header_states_a_length() -> None:
    with pytest.raises(TooLarge):
        heard(by_ffmpeg("webm", "libopus", seconds=12.0), most_s=5.0)


@pytest.mark.parametrize("name", ["hls", "concat", "sdp", "dash"])
def test_containers_that_open_other_files_are_never_named(name: str) -> None:
    assert container_of(name.encode().ljust(12)) is None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_damaged_files_never_end_in_another_error(kind: str, harm: list[tuple[int, int]]) -> None:
    raw = bytearray(_WHOLE[kind])
    for place, value in harm:
        raw[place % len(raw)] = value
    try:
        samples = heard(bytes(raw))
    except (BadInput, TooLarge):
        return
    assert np.isfinite(samples).all()


_WHOLE = {kind: packed(tone(0.5)[:, 0], 16_000, kind) for kind in ("WAV", "FLAC", "OGG", "MP3")}
