"""A thought that nobody asked for is not taken from the answer's longest length."""

from __future__ import annotations

import numpy as np
import pytest

from services.llm.asked import Asked, Done, Item
from services.llm.engine import answered
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
    said, end = answer([*THOUGHT, *ANSWER], len(ANSWER) + 1)
    assert said == "January, February, March."
    assert (end.reason, end.completion_tokens) == ("stop", len(THOUGHT) + len(ANSWER))


def test_the_answer_gets_nothing_of_what_is_kept_for_a_thought() -> None:
    said, end = answer([*THOUGHT, *ANSWER], 4)
    assert said == "January, February"
    assert end.reason == "length"
    assert answer(["Paris", " is", " large", "."], 2) == ("Paris is", Finished("length", 5, 2, -1))


def test_a_model_that_cannot_think_says_as_much_as_the_decoder_lets_it() -> None:
    assert answer(["a", "b", "c"], 2, reserve=0) == ("ab", Finished("length", 5, 2, -1))
    assert answer(["a", "b", "c"], 3, reserve=0) == ("abc", Finished("length", 5, 3, -1))


def test_a_thought_that_does_not_end_is_not_said() -> None:
    said, end = answer(["<think>", *(["Hm."] * 100)], 4)
    assert (said, end.reason, end.completion_tokens) == ("", "length", 4 + RESERVE)


def test_what_only_looked_like_a_thought_counts() -> None:
    said, end = answer(["[", "T", "]", " is", " a", " key", "."], 4)
    assert (said, end.completion_tokens) == ("[T] is", 4)
