"""OpenAI's own client, unmodified, with an API key, through the front door: hear, translate, answer, speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.box import Box
from tests.recordings import DATA
from tests.services.asking import jfk, packed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

JFK = DATA / "speech" / "jfk.flac"
SAID = "ask not what your country can do for you"
# An example helps so small a model more than instructions do.
OF_FRANCE: Any = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "What is the capital of Spain?"},
    {"role": "assistant", "content": "The capital of Spain is Madrid."},
    {"role": "user", "content": "What is the capital of France?"},
]


def key(box: Box, *scopes: str) -> dict[str, Any]:
    """A new API key, made as the box's owner makes one."""
    answer = httpx.post(
        f"{box.url}/api/v1/keys", json={"name": "a program", "scopes": scopes}, headers=box.auth,
        timeout=30, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture(scope="module")
def client(box: Box) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{box.url}/v1", api_key=key(box, "speech")["key"], max_retries=0, timeout=120
    ) as found:
        yield found


def plain(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalpha() or sign == " ")


def test_it_hears(client: openai.OpenAI) -> None:
    with JFK.open("rb") as file:
        heard = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert SAID in plain(heard.text)


def test_it_tells_what_it_hears_as_events(client: openai.OpenAI) -> None:
    with JFK.open("rb") as file:
        *deltas, done = client.audio.transcriptions.create(
            model="whisper-1", file=file, stream=True
        )
    assert SAID in plain(str(getattr(done, "text", "")))
    assert "".join(str(getattr(event, "delta", "?")) for event in deltas) == getattr(
        done, "text", ""
    )


def test_it_hears_more_than_a_page_may_send(client: openai.OpenAI) -> None:
    samples, rate_hz = jfk()
    # The same words and a minute of silence, without compression: 6 MB.
    long = np.concatenate([samples, np.zeros(60 * rate_hz, np.float32)])
    sound = packed(long, rate_hz, subtype="FLOAT")
    assert len(sound) > 4 << 20
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound))
    assert SAID in plain(heard.text)


def test_it_translates(client: openai.OpenAI) -> None:
    with JFK.open("rb") as file:
        heard = client.audio.translations.create(model="whisper-1", file=file)
    assert SAID in plain(heard.text)


def test_it_answers_word_by_word_and_whole(client: openai.OpenAI) -> None:
    how: Any = {"model": "default", "messages": OF_FRANCE, "max_tokens": 24, "temperature": 0}
    pieces = [
        event.choices[0].delta.content or ""
        for event in client.chat.completions.create(stream=True, **how)
    ]
    assert len([piece for piece in pieces if piece]) > 2
    whole = client.chat.completions.create(**how).choices[0].message.content
    assert "".join(pieces) == whole
    assert "Paris" in "".join(pieces)


def test_it_speaks_while_it_is_made(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="default", input="The first sentence. And here is another one.",
        response_format="pcm",
    ) as answer:  # fmt: skip
        assert "content-length" not in answer.headers
        parts = list(answer.iter_bytes())
    assert len(b"".join(parts)) > 2 * 24_000
    # What it says, it understands: in 25 of 25 of this, while "Paris" became "Harris" in 3 of 20.
    said = client.audio.speech.create(
        model="tts-1", voice="default", input="The weather is very nice today."
    )
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", said.content))
    assert "weather" in plain(heard.text)


def test_it_lists_its_models(client: openai.OpenAI) -> None:
    found = {model.id for model in client.models.list()}
    assert found >= {"whisper-base", "smollm2-135m-instruct", "en_US-joe-medium"}
    assert client.models.retrieve("whisper-base").object == "model"


def test_what_goes_wrong_is_one_of_the_clients_own_errors(client: openai.OpenAI, box: Box) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=OF_FRANCE)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unheard:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"no sound"))
    assert unheard.value.code == "audio_unreadable"
    with pytest.raises(openai.NotFoundError) as unspoken:
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    assert unspoken.value.code == "voice_not_found"
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "a" * (5 << 20)}]
        )
    assert large.value.status_code == 413
    other = key(box, "read")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.with_options(api_key=other["key"]).models.list()
    assert refused.value.code == "scope_missing"


def test_a_revoked_key_opens_nothing(client: openai.OpenAI, box: Box) -> None:
    made = key(box, "speech")
    mine = client.with_options(api_key=made["key"])
    assert mine.models.list().data
    httpx.post(
        f"{box.url}/api/v1/keys/{made['id']}/revoke", headers=box.auth, timeout=30, trust_env=False
    ).raise_for_status()
    with pytest.raises(openai.AuthenticationError):
        mine.models.list()
