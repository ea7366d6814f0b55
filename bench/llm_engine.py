"""The language model's decoder without its socket: tokens per second, and what Python takes of it.

python -m bench.llm_engine FILE THREADS TOKENS [LIKELIEST]     prints one line of JSON

LIKELIEST: so many tokens are chosen in llama.cpp's graph; 0, as it is without a GPU: none.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from services.llm.asked import Asked, Done
from services.llm.context import Context, Plan, Row
from services.llm.decoder import Decoder
from services.llm.model import Model
from services.llm.vocabulary import Sampling

STREAMS = (1, 4, 8)
ROUNDS = 3
STEP_TOKENS = 64
CONTEXT_TOKENS = 1024
CANCELS = 20


class Timed(Context):
    """A context that notes what is spent outside of llama_decode, on its thread."""

    outside_s = 0.0
    left_at: float | None = None

    def _compute(self) -> int:
        now = time.thread_time()
        if self.left_at is not None:
            self.outside_s += now - self.left_at
        failed = super()._compute()
        self.left_at = time.thread_time()
        return failed


class Engine:
    """One model with its decoder."""

    def __init__(self, file: Path, threads: int, likeliest: int = 0) -> None:
        def load() -> tuple[Model, Context]:
            self.model = Model("it", file, gpu_layers=0)
            # No answer ends by itself: all are of the same length.
            self.model.ends = frozenset()
            slots = max(STREAMS) + 1
            plan = Plan(slots, CONTEXT_TOKENS, threads, STEP_TOKENS, likeliest=likeliest)
            self.context = Timed("it", self.model, plan)
            return self.model, self.context

        self.decoder = Decoder(load, slots=max(STREAMS) + 1, step_tokens=STEP_TOKENS)
        self.decoder.start()

    def ask(self, number: int, most: int, stop: threading.Event | None = None) -> Asked:
        text = f"<|im_start|>user\nTell a very long story about number {number}.<|im_end|>\n"
        prompt = np.array(self.model.tokenize(text + "<|im_start|>assistant\n"), np.int32)
        asked = Asked(
            prompt, most, Sampling(temperature=0), str(number), stop=stop or threading.Event()
        )
        self.decoder.submit(asked)
        return asked

    def streams(self, count: int, tokens: int) -> dict[str, float]:
        """The middle of some rounds; before them one that leaves the prompts known."""
        self._round(count, tokens)
        rates, costs = zip(*(self._round(count, tokens) for _ in range(ROUNDS)), strict=True)
        return {
            "tokens_per_s": statistics.median(rates),
            "python_us_per_token": statistics.median(costs),
        }

    def _round(self, count: int, tokens: int) -> tuple[float, float]:
        """Tokens per second after the first ones, and microseconds of Python for each."""
        all_asked = [self.ask(number, tokens) for number in range(count)]
        for asked in all_asked:
            while not isinstance(asked.out.get(), int):
                pass
        began, spent = time.perf_counter(), self.context.outside_s
        # What the first have said until the last began is not of this time.
        still = [asked for asked in all_asked if not _emptied(asked)]
        said = sum(_rest(asked) for asked in still)
        rate = said / (time.perf_counter() - began)
        return rate, (self.context.outside_s - spent) / said * 1e6

    def cancels(self) -> float:
        """Longest time from a cancellation to the free place, in ms."""
        longest = 0.0
        for number in range(CANCELS):
            stop = threading.Event()
            asked = self.ask(number % max(STREAMS), 500, stop)
            while not isinstance(asked.out.get(), int):
                pass
            began = time.perf_counter()
            stop.set()
            _rest(asked)
            longest = max(longest, time.perf_counter() - began)
        return longest * 1e3


def least(file: Path, threads: int, tokens: int) -> float:
    """Microseconds a token of the shortest loop that can be written: what Python costs at least.

    One conversation, the likeliest token, one reader; nobody comes, nobody leaves.
    """
    model = Model("it", file, gpu_layers=0)
    context = Timed("it", model, Plan(2, CONTEXT_TOKENS, threads, STEP_TOKENS))
    read = SimpleQueue[int | None]()
    # It ends at the first None.
    reader = threading.Thread(target=lambda: list(iter(read.get, None)))
    reader.start()
    token, costs = np.array(model.tokenize("Once upon a time"), np.int32), list[float]()
    at = 0
    for _ in range(tokens):
        spent = context.outside_s
        context.decode([Row(0, at, token, True)])
        costs.append(context.outside_s - spent)
        at += len(token)
        logits, _ids = context.logits(len(token) - 1)
        said = int(logits.argmax())
        read.put(said)
        token = np.array([said], np.int32)
    read.put(None)
    reader.join()
    context.close()
    model.close()
    return statistics.median(costs[1:]) * 1e6


def _emptied(asked: Asked) -> bool:
    """Take out what is there; returns whether the answer is over."""
    while True:
        try:
            if isinstance(asked.out.get_nowait(), Done):
                return True
        except Empty:
            return False


def _rest(asked: Asked) -> int:
    count = 0
    while not isinstance(item := asked.out.get(), Done):
        count += isinstance(item, int)
    return count


def main() -> None:
    sys.setswitchinterval(0.0005)
    threads, tokens, *likeliest = map(int, sys.argv[2:])
    engine = Engine(Path(sys.argv[1]), threads, *likeliest)
    found: dict[str, Any] = {
        "streams": {str(count): engine.streams(count, tokens) for count in STREAMS},
        "cancelled_within_ms": engine.cancels(),
    }
    found["step_ms"] = 1e3 / found["streams"]["1"]["tokens_per_s"]
    engine.decoder.close()
    engine.context.close()
    engine.model.close()
    found["least_python_us_per_token"] = least(Path(sys.argv[1]), threads, tokens)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
