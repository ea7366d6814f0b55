"""A real request through a service that has just loaded a model. "It loads" proves nothing."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np

from appliance import logs
from appliance.audio import Pcm
from appliance.errors import ApplianceError, NotReady, TimedOut
from appliance.proof.proving import RECORDING

log = logs.get(__name__)

# What is said in the recording; a small or foreign model may miss one of them.
_WORDS = frozenset(("what", "capital", "france"))
_WORDS_HEARD = 2
_RATE_HZ = 24000
_SOUND_S = (0.3, 10.0)
_SOUND_RMS = 0.003
_QUESTION_S = 60.0
# A model that reads its whole context more slowly than this may still answer calls, which are shorter.
_LONG_S = 60.0
_ANSWER_TOKENS = 24
# As in every call: some templates refuse a system's message.
_INSTRUCTIONS = "You answer in one short sentence."
_FEW_TOKENS = 4
# English has about four characters a token; a little more than the context, so that it is full.
_CHARS_PER_TOKEN = 4.6
_PASSAGE = (
    "The ferry leaves the harbour at nine in the morning and comes back in the evening, when the "
    "lamps along the quay are lit and the last visitors walk home through the narrow streets. "
)


async def try_llm(client: httpx.AsyncClient, context_tokens: int) -> None:
    """Ask the language model something, then fill its context.

    Raises:
        ApplianceError: it dies, refuses or answers without a word.
    """
    said = await _chat(client, ["Name three colours."], _ANSWER_TOKENS, _QUESTION_S)
    if not any(any(map(str.isalpha, word)) for word in said.split()):
        raise NotReady("model_silent", "It was loaded, and answers a question without a word.")
    passages = round(context_tokens * _CHARS_PER_TOKEN / len(_PASSAGE)) + 1
    try:
        await _chat(client, [_PASSAGE] * passages, _FEW_TOKENS, _LONG_S)
    except TimedOut:
        log.warning("canary_context_slow", context_tokens=context_tokens)
        await _alive(client)


async def try_stt(client: httpx.AsyncClient) -> None:
    """Have the ear write down a recording whose words are known.

    Raises:
        ApplianceError: it dies, refuses or hears something else.
    """
    sound = RECORDING.read_bytes()
    files = {"file": (RECORDING.name, sound, "audio/flac")}
    data = {"model": "whisper-1", "language": "en", "response_format": "json"}
    answer = await _post(client, "/v1/audio/transcriptions", _QUESTION_S, files=files, data=data)
    text = str(_json(answer).get("text", ""))
    heard = {word.strip(".,!?'").lower() for word in text.split()}
    if len(heard & _WORDS) < _WORDS_HEARD:
        raise NotReady(
            "model_deaf", "It was loaded, and does not hear what a known recording says."
        )


async def try_tts(client: httpx.AsyncClient, voice: str) -> None:
    """Have the voice say something.

    Raises:
        ApplianceError: it dies, refuses, or what it says is no sound.
    """
    wanted = {
        "model": voice, "voice": voice, "input": "This is how I sound.", "response_format": "pcm",
    }  # fmt: skip
    answer = await _post(client, "/v1/audio/speech", _QUESTION_S, json=wanted)
    sound = Pcm.from_s16le(answer.content[: len(answer.content) // 2 * 2], _RATE_HZ)
    shortest, longest = _SOUND_S
    loudness = float(np.sqrt(np.mean(np.square(sound.samples)))) if len(sound.samples) else 0.0
    if not (shortest < sound.duration_s < longest and loudness > _SOUND_RMS):
        raise NotReady("voice_silent", "It was loaded, and what it says is no speech.")


async def _chat(client: httpx.AsyncClient, texts: list[str], tokens: int, within_s: float) -> str:
    messages = [{"role": "system", "content": _INSTRUCTIONS}]
    for text in texts:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "I see."}]
    body = {
        "model": "default", "messages": messages[:-1], "max_tokens": tokens, "temperature": 0.0,
        "stream": False,
    }  # fmt: skip
    answer = _json(await _post(client, "/v1/chat/completions", within_s, json=body))
    try:
        return str(answer["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError) as error:
        raise NotReady("model_silent", "It was loaded, and answers nothing.") from error


async def _alive(client: httpx.AsyncClient) -> None:
    try:
        answer = await client.get("/readyz", timeout=5.0)
    except httpx.HTTPError as error:
        raise _died() from error
    if answer.status_code != httpx.codes.OK:
        raise _died()


async def _post(
    client: httpx.AsyncClient, path: str, within_s: float, **request: Any
) -> httpx.Response:
    try:
        answer = await client.post(path, timeout=within_s, **request)
    except httpx.TimeoutException as error:
        raise TimedOut("model_slow", f"It gave no answer within {within_s:.0f} s.") from error
    except httpx.HTTPError as error:
        raise _died() from error
    if answer.status_code != httpx.codes.OK:
        said = _json(answer).get("error")
        why = said.get("message", "") if isinstance(said, dict) else ""
        raise NotReady("model_refuses", f"It was loaded, and does not answer: {why}".rstrip(": "))
    return answer


def _died() -> ApplianceError:
    return NotReady("model_died", "The program that had loaded it ended at the first question.")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
