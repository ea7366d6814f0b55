"""A transcript as json, verbose_json, text, srt or vtt, or as events while it is heard."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, get_args

from appliance.errors import ApplianceError
from appliance.serving.app import error_body
from services.stt.vocabulary import Finished, Manner, Passage, Transcript, Word

Format = Literal["json", "verbose_json", "text", "srt", "vtt"]
FORMATS: tuple[str, ...] = get_args(Format)
TIMED = frozenset({"verbose_json", "srt", "vtt"})
"""Formats that need the time of each word."""

_CUE_CHARS = 84
_CUE_S = 7.0
_PAUSE_S = 1.0
_CLAUSE_ENDS = tuple(",;:、，")  # noqa: RUF001  the last two are Chinese
_SENTENCE_ENDS = tuple(".?!…。？！")  # noqa: RUF001  the last three are Chinese


def cues(words: Sequence[Word]) -> list[list[Word]]:
    """Words grouped for a reader: a sentence, two lines, 7 s, or up to a pause, whichever is first."""
    groups: list[list[Word]] = []
    for word in words:
        group = groups[-1] if groups else []
        if not group or _is_over(group[-1], word):
            groups.append([word])
        elif _is_full(group, word):
            comma = _late_comma(group)
            groups.append([*group[comma:], word])
            del group[comma:]
        else:
            group.append(word)
    return groups


def _is_over(last: Word, word: Word) -> bool:
    return last.text.endswith(_SENTENCE_ENDS) or word.start_s - last.end_s > _PAUSE_S


def _is_full(group: Sequence[Word], word: Word) -> bool:
    chars = sum(len(w.text) for w in group) + len(word.text)
    return word.end_s - group[0].start_s > _CUE_S or chars > _CUE_CHARS


def _late_comma(group: Sequence[Word]) -> int:
    """Index after the last comma in the group's second half; its length if there is none."""
    for index in range(len(group), len(group) // 2, -1):
        if group[index - 1].text.endswith(_CLAUSE_ENDS):
            return index
    return len(group)


def segments(transcript: Transcript, temperature: float = 0.0) -> list[dict[str, Any]]:
    """OpenAI's segments; times in seconds of the recording."""
    found: list[dict[str, Any]] = []
    for passage in transcript.passages:
        for start_s, end_s, text, tokens in _pieces(passage):
            found.append(
                {
                    "id": len(found),
                    "seek": int(passage.start_s * 100),
                    "start": round(start_s, 2),
                    "end": round(end_s, 2),
                    "text": text,
                    "tokens": tokens,
                    "temperature": temperature,
                    "avg_logprob": round(passage.avg_logprob, 4),
                    "compression_ratio": round(passage.compression_ratio, 4),
                    "no_speech_prob": round(passage.no_speech_prob, 4),
                }
            )
    return found


def _pieces(passage: Passage) -> list[tuple[float, float, str, list[int]]]:
    if not passage.words:
        return [(passage.start_s, passage.end_s, passage.text, list(passage.tokens))]
    return [
        (
            group[0].start_s,
            group[-1].end_s,
            "".join(w.text for w in group).strip(),
            [token for word in group for token in word.tokens],
        )
        for group in cues(passage.words)
    ]


def verbose(transcript: Transcript, manner: Manner, *, words: bool) -> dict[str, Any]:
    """OpenAI's verbose_json; ``words`` adds the time of each word."""
    body: dict[str, Any] = {
        "task": manner.task,
        "language": transcript.language,
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "segments": segments(transcript, manner.temperature),
    }
    if words:
        body["words"] = [
            {"word": w.text.strip(), "start": round(w.start_s, 2), "end": round(w.end_s, 2)}
            for passage in transcript.passages
            for w in passage.words
        ]
    return body


def brief(transcript: Transcript) -> dict[str, Any]:
    """OpenAI's json, and beside it how sure the model is of all its words."""
    spoken = [passage for passage in transcript.passages if passage.tokens]
    if not spoken:
        return {"text": transcript.text}
    tokens = sum(len(passage.tokens) for passage in spoken)
    likely = sum(len(passage.tokens) * passage.avg_logprob for passage in spoken) / tokens
    return {"text": transcript.text, "avg_logprob": round(likely, 4)}


async def events(chunks: AsyncIterator[Passage | Finished]) -> AsyncIterator[bytes]:
    """OpenAI's server-sent events: what each passage adds to the text, then the whole text."""
    text = ""
    try:
        async for chunk in chunks:
            if isinstance(chunk, Passage):
                delta = f" {chunk.text}" if text else chunk.text
                text += delta
                yield _event({"type": "transcript.text.delta", "delta": delta})
    except ApplianceError as error:
        # The status is sent already; OpenAI's clients raise on an event of this shape.
        yield _event(error_body(error))
        return
    yield _event({"type": "transcript.text.done", "text": text})


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def srt(transcript: Transcript) -> str:
    """SubRip subtitles; empty if nothing was said."""
    return "".join(
        f"{s['id'] + 1}\n{_clock(s['start'], ',')} --> {_clock(s['end'], ',')}\n{s['text']}\n\n"
        for s in segments(transcript)
    )


def vtt(transcript: Transcript) -> str:
    """WebVTT subtitles."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(s['start'], '.')} --> {_clock(s['end'], '.')}\n{_unmarked(s['text'])}\n\n"
        for s in segments(transcript)
    )


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _unmarked(text: str) -> str:
    # A cue's text is markup; "-->" in it would even begin another cue.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
