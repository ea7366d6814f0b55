"""Turns an uploaded file into 16 kHz mono sound, piece by piece, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from appliance import logs
from appliance.errors import BadInput, TooLarge
from services.stt.vocabulary import RATE_HZ, Samples

_BLOCK_S = 4
# What is read when a file breaks off is lost, so it is read in small steps.
_STEP_S = 0.5
_MOST_CHANNELS = 16
_RATES_HZ = range(1_000, 768_001)
_MOST_BAD_PACKETS = 50

# FFmpeg guesses among demuxers that open other files and addresses (hls, concat, sdp), so it is
# told the container, and only one of these.
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (8, b"WAVE", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (4, b"ftyp", "mov"),
    (0, b"ID3", "mp3"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
)
# Read in blocks, mp3 is damaged by soundfile: it seeks after each one.
_FFMPEG_ONLY = frozenset({"matroska", "mov", "aac", "mp3"})

_log = logs.get(__name__)


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container, from a file's first 12 bytes; None if it is none of ours."""
    for offset, mark, name in _CONTAINERS:
        if head[offset : offset + len(mark)] == mark:
            return name
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The layer bits tell AAC (00) from MPEG audio.
        return "mp3" if head[1] & 0x06 else "aac"
    return None


def decode(file: BinaryIO, max_audio_s: float) -> Iterator[Samples]:
    """Blocks of about 4 s, in order; not a number and infinity become silence.

    A file that breaks off is given as far as it can be read.

    Raises:
        BadInput: nothing in it can be read as sound.
        TooLarge: it is longer than ``max_audio_s``.
    """
    file.seek(0)
    head = file.read(12)
    if not head:
        raise BadInput("audio_empty", "The audio file is empty.", "Record again and send the file.")
    container = container_of(head)
    if container is None:
        raise _unreadable()
    file.seek(0)
    total = 0
    for block in _gathered(_sounds(file, container, max_audio_s)):
        total += block.size
        if total > max_audio_s * RATE_HZ:
            raise _too_long(max_audio_s)
        yield block


def _unreadable() -> BadInput:
    return BadInput(
        "audio_unreadable",
        "The audio file cannot be read.",
        "Send wav, flac, mp3, ogg, webm or mp4 with one sound track.",
    )


def _too_long(max_audio_s: float) -> TooLarge:
    return TooLarge(
        "audio_too_long",
        f"The audio is longer than {max_audio_s:g} s.",
        "Cut it into parts, or raise the setting stt.max_audio_s.",
    )


def _sounds(file: BinaryIO, container: str, max_audio_s: float) -> Iterator[Samples]:
    import soundfile

    if container not in _FFMPEG_ONLY:
        try:
            sound = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, RuntimeError, ValueError, OverflowError):
            # libsndfile does not know every codec; FFmpeg may.
            file.seek(0)
        else:
            with sound:
                yield from _by_libsndfile(sound, max_audio_s)
            return
    yield from _by_ffmpeg(file, container)


def _by_libsndfile(sound: Any, max_audio_s: float) -> Iterator[Samples]:
    import soundfile
    import soxr

    if sound.samplerate not in _RATES_HZ or not 1 <= sound.channels <= _MOST_CHANNELS:
        raise _unreadable()
    if sound.frames > (max_audio_s + 1) * sound.samplerate:
        raise _too_long(max_audio_s)
    resampler = soxr.ResampleStream(sound.samplerate, RATE_HZ, 1, dtype="float32")
    last = False
    while not last:
        try:
            block = sound.read(round(_STEP_S * sound.samplerate), dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError):
            _log.info("audio_breaks_off", container=sound.format)
            block = np.zeros((0, 1), np.float32)
        last = len(block) == 0
        mono = _clean(block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0])
        yield _clean(resampler.resample_chunk(mono, last=last))


def _by_ffmpeg(file: BinaryIO, container: str) -> Iterator[Samples]:
    import av

    # Whatever the container refers to outside itself stays closed.
    options = {"protocol_whitelist": "none", "format_whitelist": container}
    if container in ("matroska", "mov"):
        options["format_whitelist"] = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2"
    heard = False
    try:
        with av.open(
            file, mode="r", format=container, container_options=options, metadata_errors="ignore"
        ) as opened:
            if not opened.streams.audio:
                raise _unreadable()
            for block in _frames(opened, opened.streams.audio[0]):
                heard = True
                yield _clean(block)
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        if not heard:
            raise _unreadable() from error
        _log.info("audio_breaks_off", container=container)
    if not heard:
        raise _unreadable()


def _frames(container: Any, stream: Any) -> Iterator[Samples]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            if bad > _MOST_BAD_PACKETS:
                raise
            continue
        for frame in frames:
            frame.pts = None
            for out in resampler.resample(frame):
                yield out.to_ndarray()[0]
    for out in resampler.resample(None):
        yield out.to_ndarray()[0]


def _clean(block: Samples) -> Samples:
    """Finite and within -1..1: Whisper spends 26 s on two seconds of NaN."""
    finite = np.nan_to_num(block, copy=True, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(finite, -1.0, 1.0, out=finite)


def _gathered(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """Join small pieces into blocks, so that whoever follows does not copy once per frame."""
    parts: list[Samples] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += piece.size
        if size >= _BLOCK_S * RATE_HZ:
            yield np.concatenate(parts)
            parts, size = [], 0
    if size:
        yield np.concatenate(parts)
