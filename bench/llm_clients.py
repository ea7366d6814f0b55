"""The two language-model servers of a comparison, each started alone, and how they are asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from appliance.settings import PROJECT_DIR, sealed_environment

LLAMA_SERVER = PROJECT_DIR / ".cache" / "llama-server" / "bin" / "llama-server"
START_S = 60.0
STEP_TOKENS = 64
CONTEXT_TOKENS = 1024
# Long enough that none ends before the last token that is measured.
STORIES = (
    "Tell me a very long story about a lighthouse.", "Describe a walk through a big city.",
    "Tell me a very long story about a dragon.", "Explain at length how a garden grows.",
    "Tell me a very long story about a sailor.", "Describe the history of Rome in detail.",
    "Tell me a very long story about a robot.", "Explain at length how rain is made.",
)  # fmt: skip
TEXTS = (
    "What is the capital of France?", "Name three colours.", "How many days has a week?",
    "Tell me about the sea.", "What do bees make?", "Who wrote Hamlet?", "What is 2 plus 2?",
    "Why is the sky blue?", "What do cows eat?", "Tell me a joke.", "How do I boil an egg?",
    "What is a lighthouse?", "Name two planets.", "How far is the moon?", "What is bread made of?",
    "Where do penguins live?", "What is a good morning routine?", "How do plants grow?",
    "What is the largest ocean?", "Describe a cat in one sentence.",
)  # fmt: skip
SYSTEM = (
    "You are the voice of a small hotel by the sea. You answer in one short, friendly sentence. "
    "Breakfast is served from seven to ten in the room with the large windows. The pool is open "
    "from eight to nine in the evening. Towels are at the front desk. Dogs are welcome on the ground "
    "floor. The last bus to the town leaves at half past ten. Check-out is at eleven. "
) * 2


class Side:
    """A server in a process of its own, on a unix socket."""

    def __init__(self, file: Path, threads: int, *, slots: int) -> None:
        self._file, self._threads, self._slots = file, threads, slots
        self._folder = tempfile.TemporaryDirectory(prefix="llm-")
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "it.sock"

    def __enter__(self) -> Self:
        log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            self.command(), cwd=PROJECT_DIR, env=self.environment(), stdout=log, stderr=log
        )
        with self._client() as http:
            deadline = time.monotonic() + START_S
            while not self._is_ready(http):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit((self.folder / "log").read_text(errors="replace")[-2000:])
                time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_S)
        self._folder.cleanup()

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(transport=transport, base_url="http://llm", timeout=120)

    def asking(self) -> httpx.AsyncClient:
        """A client with a connection for each request: llama-server closes one after a few of them."""
        once = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), limits=once)
        return httpx.AsyncClient(transport=transport, base_url="http://llm", timeout=120)

    def _is_ready(self, http: httpx.Client) -> bool:
        try:
            return http.get(self.ready_path).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    ready_path = "/readyz"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(sealed_environment())

    def room(self, number: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Fields and headers with which a request names its room."""
        raise NotImplementedError

    def greedy(self, text: str, tokens: int) -> dict[str, Any]:
        """An answer at temperature 0."""
        raise NotImplementedError

    def _greedy(self, text: str, tokens: int, more: dict[str, Any]) -> dict[str, Any]:
        body = {
            "messages": [{"role": "user", "content": text}], "temperature": 0,
            "max_tokens": tokens, **more,
        }  # fmt: skip
        with self._client() as http:
            answer = http.post("/v1/chat/completions", json=body)
            answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


class Ours(Side):
    """The box's own service."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "services.llm"]

    def environment(self) -> dict[str, str]:
        self.socket = self.folder / "run" / "llm.sock"
        return {
            **sealed_environment(), "APPLIANCE_DATA_DIR": str(self.folder),
            "APPLIANCE_LLM__THREADS": str(self._threads), "APPLIANCE_GPU": "off",
            "APPLIANCE_LLM__CONTEXT_TOKENS": str(CONTEXT_TOKENS),
            "APPLIANCE_AGENT__SEATS": str(self._slots),
        }  # fmt: skip

    def room(self, number: int) -> tuple[dict[str, Any], dict[str, str]]:
        return {}, {"X-Earshot-Session": f"room-{number}"}

    def greedy(self, text: str, tokens: int) -> dict[str, Any]:
        answer = self._greedy(text, tokens, {})
        return {
            "text": answer["choices"][0]["message"]["content"],
            "prompt_tokens": answer["usage"]["prompt_tokens"],
        }


class Stock(Side):
    """llama-server."""

    ready_path = "/health"

    def command(self) -> list[str]:
        context = CONTEXT_TOKENS * self._slots
        return [
            str(LLAMA_SERVER), "-m", str(self._file), "--host", str(self.socket),
            "-t", str(self._threads), "-tb", str(self._threads), "-c", str(context),
            "-np", str(self._slots), "-b", str(STEP_TOKENS), "-ub", str(STEP_TOKENS), "-ngl", "0",
            "--jinja", "--no-kv-unified", "--cache-ram", "0",
        ]  # fmt: skip

    def room(self, number: int) -> tuple[dict[str, Any], dict[str, str]]:
        return {"id_slot": number, "cache_prompt": True}, {}

    def greedy(self, text: str, tokens: int) -> dict[str, Any]:
        answer = self._greedy(text, tokens, {"logprobs": True, "top_logprobs": 2})
        words = [
            {
                "text": one["token"],
                "margin": one["top_logprobs"][0]["logprob"] - one["top_logprobs"][1]["logprob"],
            }
            for one in answer["choices"][0]["logprobs"]["content"]
        ]
        return {
            "text": answer["choices"][0]["message"]["content"], "words": words,
            "prompt_tokens": answer["usage"]["prompt_tokens"],
        }  # fmt: skip


async def _answer(
    http: httpx.AsyncClient,
    side: Side,
    room: int,
    messages: list[dict[str, str]],
    most: int,
    **more: Any,
) -> dict[str, Any]:
    fields, headers = side.room(room)
    body = {
        "messages": messages, "max_tokens": most, "temperature": 0, "stream": True, **fields, **more,
    }  # fmt: skip
    at: list[float] = []
    own: dict[str, Any] = {}
    text, began = "", time.perf_counter()
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            own = event.get("timings") or own
            if event["choices"] and (piece := event["choices"][0]["delta"].get("content")):
                at.append(time.perf_counter())
                text += piece
    return {"ttft_s": at[0] - began, "at": at, "text": text, "own": own}


def streams(side: Side, count: int, tokens: int) -> dict[str, float]:
    """Tokens per second while so many answers are written at once, their prompts known."""

    async def all_at_once(most: int) -> list[dict[str, Any]]:
        async with side.asking() as http:
            asked = (
                # llama-server times whole answers, so all must be of one length; ours need not be.
                _answer(
                    http, side, n, [{"role": "user", "content": STORIES[n]}], most, ignore_eos=True
                )
                for n in range(count)
            )
            return await asyncio.gather(*asked)

    asyncio.run(all_at_once(2))
    answers = asyncio.run(all_at_once(tokens))
    began = max(one["at"][0] for one in answers)
    ended = min(one["at"][-1] for one in answers)
    within = sum(began < moment <= ended for one in answers for moment in one["at"])
    found = {
        "tokens_per_s": within / (ended - began),
        "said": float(sum(len(a["at"]) for a in answers)),
    }
    if all(one["own"] for one in answers):
        # As it times itself: all of its answers are decoded in the same steps, and its time begins
        # with the first token.
        said = sum(one["own"]["predicted_n"] - 1 for one in answers)
        found["own_tokens_per_s"] = said / max(one["own"]["predicted_ms"] for one in answers) * 1e3
    return found


def turns(side: Side, rooms: int, count: int) -> list[float]:
    """Median time to the first token at each turn, in ms; the rooms' talks go on in turn."""

    async def talk() -> list[float]:
        talks: list[list[dict[str, str]]] = [
            [{"role": "system", "content": SYSTEM}] for _ in range(rooms)
        ]
        medians = []
        async with side.asking() as http:
            for turn in range(count):
                waits = []
                for room, messages in enumerate(talks):
                    question = TEXTS[(turn * rooms + room) % len(TEXTS)]
                    messages.append({"role": "user", "content": question})
                    answer = await _answer(http, side, room, messages, 24)
                    messages.append({"role": "assistant", "content": answer["text"]})
                    waits.append(answer["ttft_s"] * 1e3)
                medians.append(statistics.median(waits))
        return medians

    return asyncio.run(talk())


def is_built() -> bool:
    """Whether ``bench/build_llama_server`` has been run."""
    return os.access(LLAMA_SERVER, os.X_OK)
