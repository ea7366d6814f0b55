"""A thought that nobody asked for is not taken from the answer's longest length."""

from __future__ import annotations

import numpy as np
import pytest

from services.llm.asked import Asked, Done, Item
from services.llm.engine import answered, prompt_room
from services.llm.routes import _usage
from services.llm.vocabulary import Chat, Finished, Message, Words

pytestmark = pytest.mark.unit

RESERVE = 20
THOUGHT = ["<|channel|>", "analysis", "<|message|>", "Four", " months", "<|channel|>", "final"]
ANSWER = ["<|message|>", "January", ",", " February", ",", " March", "."]


def answer(pieces: list[str], most: int, reserve: int = RESERVE) -> tuple[str, Finished]:
    """What is said, and how it ended, where the decoder would say these pieces."""
    request = Chat((Message("user", "x"),), max_tokens=most)
    asked = Asked(np.zeros(5, np.int32), most + reserve)
    said: list[Item] = list(range(min(len(pieces), asked.most)))
    for item in [*said, Done.STOP if len(pieces) < asked.most else Done.LENGTH]:
        asked.out.put(item)
    chunks = list(answered(request, asked, lambda token: pieces[token].encode()))
    end = chunks[-1]
    assert isinstance(end, Finished)
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Words)), end


def test_a_thought_leaves_the_answer_its_length() -> None:
    # ANSWER's first token ends the thought, and is none of the answer's.
    said, end = answer([*THOUGHT, *ANSWER], len(ANSWER))
    assert said == "January, February, March."
    assert (end.reason, end.completion_tokens) == ("stop", len(THOUGHT) + len(ANSWER))
    assert end.thought_tokens == len(THOUGHT) + 1


def test_the_answer_gets_nothing_of_what_is_kept_for_a_thought() -> None:
    said, end = answer([*THOUGHT, *ANSWER], 4)
    assert said == "January, February,"
    assert (end.reason, end.completion_tokens) == ("length", len(THOUGHT) + 1 + 4)
    assert answer(["Paris", " is", " large", "."], 2) == ("Paris is", Finished("length", 5, 2, -1))


def test_a_model_that_cannot_think_says_as_much_as_the_decoder_lets_it() -> None:
    assert answer(["a", "b", "c"], 2, reserve=0) == ("ab", Finished("length", 5, 2, -1))
    assert answer(["a", "b", "c"], 3, reserve=0) == ("abc", Finished("length", 5, 3, -1))


def test_a_thought_that_does_not_end_is_not_said() -> None:
    said, end = answer(["<think>", *(["Hm."] * 100)], 4)
    assert (said, end.reason, end.completion_tokens) == ("", "length", 4 + RESERVE)
    assert end.thought_tokens == end.completion_tokens


def test_what_only_looked_like_a_thought_counts() -> None:
    said, end = answer(["[", "T", "]", " is", " a", " key", "."], 4)
    assert (said, end.completion_tokens) == ("[T] is", 4)
    assert end.thought_tokens == 0


@pytest.mark.parametrize(("begin", "end"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_an_answer_after_a_thought_is_as_long_as_it_was_asked_for(begin: str, end: str) -> None:
    said, finished = answer([begin, "Hm.", end, "Paris", " is", " large"], 2)
    assert said == "Paris is"
    assert (finished.reason, finished.completion_tokens) == ("length", 5)
    assert finished.thought_tokens == 3


def test_a_thoughts_tokens_are_told_as_openai_tells_them() -> None:
    usage = _usage(Finished("stop", 5, 9, 0, 4))
    assert (usage["completion_tokens"], usage["total_tokens"]) == (9, 14)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 4}


def left_over(most: int | None, window: int, *, may_think: bool) -> int:
    request = Chat((Message("user", "x"),), max_tokens=most)
    return window - prompt_room(request, window, may_think)


def test_a_thought_has_its_room_in_the_window_beside_the_answer() -> None:
    assert left_over(300, 4096, may_think=False) == 300
    assert left_over(300, 4096, may_think=True) == 300 + 512
    assert left_over(None, 4096, may_think=True) == 256 + 512
    assert left_over(2000, 4096, may_think=True) == 2048
    assert left_over(64, 1024, may_think=True) == 512


@pytest.mark.parametrize("may_think", [False, True])
def test_reading_ahead_leaves_what_the_answer_leaves(may_think: bool) -> None:
    assert left_over(0, 4096, may_think=may_think) == left_over(64, 4096, may_think=may_think)
