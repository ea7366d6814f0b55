"""The shapes of an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from appliance.errors import ApplianceError, BadInput, NotFound
from services.stt import formats
from services.stt.vocabulary import Finished, Manner, Passage, Transcript, Word
from services.stt.wishes import read_wish

pytestmark = pytest.mark.unit


def words(text: str, start_s: float = 0.0, each_s: float = 0.4) -> tuple[Word, ...]:
    return tuple(
        Word(" " + word, start_s + i * each_s, start_s + (i + 1) * each_s, (i,))
        for i, word in enumerate(text.split())
    )


def passage(text: str, start_s: float = 0.0, *, timed: bool = True) -> Passage:
    said = words(text, start_s)
    return Passage(
        start_s=start_s,
        end_s=said[-1].end_s,
        text=text,
        tokens=tuple(range(len(said))),
        words=said if timed else (),
        language="en",
        avg_logprob=-0.2,
        no_speech_prob=0.01,
        compression_ratio=1.1,
    )


TWO = Transcript((passage("He was here. Was he?"), passage("Yes, A --> B <b>", 3661.5)), 3670.0)
NOTHING = Transcript((), 3.0)


def test_srt() -> None:
    assert formats.srt(TWO) == (
        "1\n00:00:00,000 --> 00:00:01,200\nHe was here.\n\n"
        "2\n00:00:01,200 --> 00:00:02,000\nWas he?\n\n"
        "3\n01:01:01,500 --> 01:01:03,500\nYes, A --> B <b>\n\n"
    )
    assert formats.srt(NOTHING) == ""


def test_vtt_text_cannot_begin_another_cue() -> None:
    body = formats.vtt(TWO)
    assert body.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nHe was here.\n\n")
    assert "Yes, A --&gt; B &lt;b&gt;" in body
    assert formats.vtt(NOTHING) == "WEBVTT\n\n"


def test_verbose_json() -> None:
    body = formats.verbose(TWO, Manner(), words=True)
    assert body["text"] == "He was here. Was he? Yes, A --> B <b>"
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "en", 3670.0)
    assert [s["id"] for s in body["segments"]] == [0, 1, 2]
    assert body["segments"][1]["tokens"] == [3, 4]
    assert body["words"][0] == {"word": "He", "start": 0.0, "end": 0.4}
    assert "words" not in formats.verbose(TWO, Manner(), words=False)


def test_verbose_json_of_nothing() -> None:
    body = formats.verbose(NOTHING, Manner(), words=True)
    assert (body["text"], body["segments"], body["words"]) == ("", [], [])


def test_without_word_times_a_passage_is_one_segment() -> None:
    (segment,) = formats.segments(Transcript((passage("One. Two.", 1.0, timed=False),), 5.0))
    assert (segment["start"], segment["end"], segment["text"]) == (1.0, 1.8, "One. Two.")


def test_cues_are_short_and_end_at_commas_and_pauses() -> None:
    text = (
        "one two three four five six seven eight nine ten, eleven twelve thirteen fourteen fifteen"
    )
    told = [" ".join(w.text.strip() for w in group) for group in formats.cues(words(text * 1))]
    assert told[0].endswith("ten,")
    assert " ".join(told) == text
    pause = [*words("before"), *words("after", 3.0)]
    assert len(formats.cues(pause)) == 2


def test_japanese_words_are_not_spaced() -> None:
    said = tuple(Word(w, i, i + 0.5, (i,)) for i, w in enumerate(("東京", "です。", "はい")))
    shown = Transcript((Passage(0, 3, "東京です。はい", (), said, "ja", 0, 0, 1),), 3)
    assert [s["text"] for s in formats.segments(shown)] == ["東京です。", "はい"]


def wish(**fields: Any) -> Any:
    return read_wish(fields, "transcribe", ["whisper-base"])


def test_defaults_are_openais() -> None:
    found = wish()
    assert (found.shape, found.words, found.streamed, found.manner) == (
        "json", False, False, Manner(),
    )  # fmt: skip


@pytest.mark.parametrize("model", ["", "whisper-1", "whisper-base"])
def test_models_that_are_served(model: str) -> None:
    assert wish(model=model).manner == Manner()


def test_another_model_is_named_as_not_here() -> None:
    with pytest.raises(NotFound, match="not the one loaded") as caught:
        wish(model="gpt-4o-transcribe")
    assert "whisper-base" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "code"), [("en", "en"), ("EN", "en"), ("en-US", "en"), ("auto", ""), ("", "")]
)
def test_languages(given: str, code: str) -> None:
    assert wish(language=given).manner.language == code


@pytest.mark.parametrize("shape", ["verbose_json", "srt", "vtt"])
def test_formats_with_times_ask_for_them(shape: str) -> None:
    assert wish(response_format=shape).manner.timed


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"response_format": "xml"}, "format_unknown"),
        ({"language": "en; drop"}, "language_not_supported"),
        ({"temperature": "warm"}, "temperature_invalid"),
        ({"temperature": "nan"}, "temperature_invalid"),
        ({"temperature": [1]}, "temperature_invalid"),
        ({"temperature": 1.5}, "temperature_invalid"),
        ({"timestamp_granularities": ["letter"]}, "granularity_unknown"),
        ({"timestamp_granularities": {"word": 1}}, "granularity_unknown"),
        ({"prompt": "x" * 5000}, "prompt_too_long"),
        ({"prompt": "x\ud800"}, "text_not_unicode"),
        ({"model": 7}, "invalid_request"),
        ({"stream": "perhaps"}, "invalid_request"),
        ({"stream": [True]}, "invalid_request"),
        ({"stream": "true", "response_format": "srt"}, "stream_not_supported"),
        ({"stream": True, "response_format": "verbose_json"}, "stream_not_supported"),
    ],
)
def test_impossible_wishes_are_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        wish(**fields)
    assert caught.value.code == code


def test_words_are_asked_for_in_either_spelling() -> None:
    assert wish(**{"timestamp_granularities[]": ["word", "segment"]}).words
    assert wish(timestamp_granularities="word").words
    assert not wish(timestamp_granularities=["segment"]).words


@pytest.mark.parametrize(
    ("given", "streamed"),
    [
        ("true", True),
        ("True", True),
        ("1", True),
        (True, True),
        ("false", False),
        (False, False),
        ("", False),
    ],
)
def test_events_are_asked_for_in_a_form_and_in_json(given: object, streamed: bool) -> None:
    assert wish(stream=given).streamed is streamed
    assert wish(stream=given, response_format="text").streamed is streamed


async def test_events_add_up_to_the_text() -> None:
    async def told(*chunks: Passage | Finished) -> list[dict[str, str]]:
        async def arriving() -> AsyncIterator[Passage | Finished]:
            for chunk in chunks:
                yield chunk

        sent = b"".join([event async for event in formats.events(arriving())]).decode()
        assert sent.endswith("\n\n")
        return [json.loads(event.removeprefix("data: ")) for event in sent.split("\n\n")[:-1]]

    *deltas, done = await told(*TWO.passages, Finished(TWO.duration_s))
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert done == {"type": "transcript.text.done", "text": TWO.text}
    assert "".join(event["delta"] for event in deltas) == TWO.text
    assert await told(Finished(3.0)) == [{"type": "transcript.text.done", "text": ""}]


async def test_an_error_after_the_first_event_is_told_as_one() -> None:
    async def breaking_off() -> AsyncIterator[Passage | Finished]:
        yield TWO.passages[0]
        raise ApplianceError("audio_too_long", "The recording is too long.")

    sent = [event async for event in formats.events(breaking_off())]
    first, last = (json.loads(event.removeprefix(b"data: ")) for event in sent)
    assert first["type"] == "transcript.text.delta"
    assert last["error"]["code"] == "audio_too_long"
