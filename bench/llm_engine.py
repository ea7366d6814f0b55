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

from services.llm.answer import Answer
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
    """A context that notes what is spent outside of llama_decode on its thread.

    Attributes:
        outside_s: of the processor's time.
        passed_s: by the clock: waiting for the interpreter, which the readers use too, is in it.
    """

    outside_s = 0.0
    passed_s = 0.0
    left_at: tuple[float, float] | None = None

    def _compute(self) -> int:
        if self.left_at is not None:
            self.outside_s += time.thread_time() - self.left_at[0]
            self.passed_s += time.perf_counter() - self.left_at[1]
        failed = super()._compute()
        self.left_at = time.thread_time(), time.perf_counter()
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
        rounds = [self._round(count, tokens) for _ in range(ROUNDS)]
        names = "tokens_per_s", "python_us_per_token", "python_clock_us_per_token"
        return {
            name: statistics.median(found)
            for name, found in zip(names, zip(*rounds, strict=True), strict=True)
        }

    def _round(self, count: int, tokens: int) -> tuple[float, float, float]:
        """Tokens per second after the first ones; microseconds of Python for each, and by the clock."""
        all_asked = [self.ask(number, tokens) for number in range(count)]
        for asked in all_asked:
            while not isinstance(asked.out.get(), int):
                pass
        began, spent = time.perf_counter(), self.context.outside_s
        passed = self.context.passed_s
        # What the first have said until the last began is not of this time.
        still = [asked for asked in all_asked if not _emptied(asked)]
        said = sum(self._rest(asked) for asked in still)
        rate = said / (time.perf_counter() - began)
        spent, passed = self.context.outside_s - spent, self.context.passed_s - passed
        return rate, spent / said * 1e6, passed / said * 1e6

    def _rest(self, asked: Asked) -> int:
        """Read an answer to its end as its request does; returns how many tokens that were."""
        answer, count = Answer(()), 0
        while not isinstance(item := asked.out.get(), Done):
            if isinstance(item, int):
                answer.push(self.model.piece(item))
                count += 1
        return count

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
            self._rest(asked)
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
