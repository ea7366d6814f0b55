"""Fitting a conversation into the window, and cutting an answer at a stop text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.errors import BadInput
from services.llm.answer import Answer
from services.llm.body import ChatBody
from services.llm.prompt import STACK_BYTES, fitted, has_endless_word, joined, without_system
from services.llm.vocabulary import Message

pytestmark = pytest.mark.unit


def render(messages: Sequence[Message]) -> list[int]:
    """Ten tokens a message; the first of them tells which."""
    return [int(message.text.split("\n")[0]) for message in messages for _ in range(10)]


def talk(turns: int, *, system: bool = True) -> list[Message]:
    messages = [Message("system", "1000")] if system else []
    for turn in range(turns):
        messages += [Message("user", str(turn * 2)), Message("assistant", str(turn * 2 + 1))]
    return [*messages, Message("user", str(turns * 2))]


def test_a_short_conversation_stays_whole() -> None:
    assert fitted(talk(3), 0, 100, render) == (render(talk(3)), 0)


def test_the_oldest_turns_go_several_at_once() -> None:
    tokens, dropped = fitted(talk(10), 0, 200, render)
    assert dropped == 8
    assert tokens[:20] == [1000] * 10 + [8] * 10
    assert tokens[-1] == 20


def test_system_and_examples_stay() -> None:
    tokens, _ = fitted(talk(20), 3, 200, render)
    assert tokens[:31] == [1000] * 10 + [0] * 10 + [1] * 10 + [tokens[30]]
    assert tokens[30] % 8 == 2


def test_the_prompts_beginning_is_the_same_for_some_turns() -> None:
    beginnings = [fitted(talk(turns), 0, 200, render)[0][10] for turns in range(10, 26)]
    assert len(set(beginnings)) == 4


def test_at_worst_the_last_message_remains() -> None:
    tokens, _ = fitted(talk(50), 0, 20, render)
    assert tokens == [1000] * 10 + [100] * 10
    with pytest.raises(BadInput) as refused:
        fitted(talk(50), 0, 19, render)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("keep", [0, 1, 4, 99])
def test_what_fits_is_never_refused(turns: int, keep: int) -> None:
    messages = talk(turns, system=False)
    tokens, _ = fitted(messages, 0, 10 * len(messages), render)
    assert len(tokens) == 10 * len(messages)
    assert fitted(messages, keep, 1000, render)[0][-1] == turns * 2


def test_a_talk_of_thousands_of_messages_is_rendered_but_a_few_times() -> None:
    rendered: list[int] = []

    def counted(messages: Sequence[Message]) -> list[int]:
        rendered.append(len(messages))
        return render(messages)

    tokens, dropped = fitted(talk(1000), 0, 200, counted)
    assert (len(tokens), dropped) == (180, 1984)
    assert len(rendered) < 15


def test_what_is_too_long_to_be_tokenised_is_cut_like_what_does_not_fit() -> None:
    def careful(messages: Sequence[Message]) -> list[int] | None:
        return None if len(messages) > 30 else render(messages)

    for turns in (10, 100, 101):
        assert fitted(talk(turns), 0, 200, careful) == fitted(talk(turns), 0, 200, render)
    with pytest.raises(BadInput) as refused:
        fitted(talk(5), 0, 200, lambda messages: None)
    assert refused.value.code == "context_length_exceeded"


def test_without_a_system_a_user_says_what_it_says() -> None:
    system, hello = Message("system", "Be brief."), Message("user", "Hello.")
    reply = Message("assistant", "Hi.")
    assert without_system([system, hello, reply]) == [Message("user", "Be brief.\n\nHello."), reply]
    assert without_system([system]) == [Message("user", "Be brief.")]
    assert without_system([system, reply, hello]) == [Message("user", "Be brief."), reply, hello]
    assert without_system([hello, system, reply]) == [Message("user", "Hello.\n\nBe brief."), reply]
    assert without_system([hello, reply]) == [hello, reply]


@pytest.mark.parametrize("piece", ["a", " ", "\n", "的", "a,b.", "１_é", "\x1c", "\x1f"])
def test_only_a_word_deeper_than_half_a_stack_is_endless(piece: str) -> None:
    deepest = STACK_BYTES // 330
    word = piece * (deepest // 2 // len(piece))
    assert has_endless_word(word)
    assert has_endless_word("Well. " * 7 + word + " And so on.")
    short = piece * (deepest // 20 // len(piece))
    assert not has_endless_word(f"Well {short} {short} and {short}: so on. " * 10)
    assert not has_endless_word("")


@pytest.mark.parametrize("separator", ["\x1c", "\x1d", "\x1e", "\x1f", "\u200b", "\ufeff"])
def test_what_is_a_blank_for_python_alone_ends_no_word(separator: str) -> None:
    assert has_endless_word(("!" * 203_000 + separator) * 5)


@pytest.mark.parametrize("blank", [*"\t\n\v\f\r \x85\xa0", "\u1680", "\u200a", "\u2028", "\u3000"])
def test_blanks_of_every_script_end_a_word(blank: str) -> None:
    assert not has_endless_word(("!" * 100_000 + blank) * 5)
    assert has_endless_word(blank * 500_000)


def test_neighbours_of_one_role_are_joined() -> None:
    said = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    assert joined(said) == [Message("user", "a\nb"), Message("assistant", "c")]


def answer(stops: list[str], pieces: list[bytes]) -> tuple[list[str], bool]:
    cut = Answer(stops)
    texts = [cut.push(piece) for piece in pieces]
    return [*texts, cut.flush()], cut.stopped


@pytest.mark.parametrize(
    "thought",
    [
        ["<think>", "Hm.", "</think>"],
        ["[", "THINK", "]", "Hm.", "[/THINK]"],
        ["<|channel>", "thought", "\n", "<channel|>"],
        ["<|channel|>", "analysis", "<|message|>", "Hm.", "assistant", "<|channel|>", "final", "<|message|>"],
        ["<|channel|>", "final", "<|message|>"],
    ],
)  # fmt: skip
def test_thoughts_are_not_spoken(thought: list[str]) -> None:
    said, _ = answer([], [piece.encode() for piece in ["\n", *thought, "\n", "Paris", " is."]])
    assert "".join(said).lstrip() == "Paris is."
    unended, _ = answer([], [piece.encode() for piece in thought[:-1]])
    assert "".join(unended) == ""


@pytest.mark.parametrize("text", ["<b>Paris</b>", "[Paris]", "<|", "< 3"])
def test_what_only_begins_like_a_thought_is_said(text: str) -> None:
    said, _ = answer([], [letter.encode() for letter in text])
    assert "".join(said) == text


def test_half_a_character_waits_for_its_other_half() -> None:
    assert answer([], [b"caf\xc3", b"\xa9 ", b"\xf0\x9f", b"\x98\x80"]) == (
        ["caf", "é ", "", "😀", ""], False,
    )  # fmt: skip
    assert answer([], [b"\xf0\x9f"]) == (["", "\ufffd"], False)


def test_a_stop_text_ends_the_answer_even_in_pieces() -> None:
    assert answer(["END"], [b"a E", b"N", b"D b"]) == (["a ", "", "", ""], True)
    assert answer(["END"], [b"a E", b"N", b"x"]) == (["a ", "", "ENx", ""], False)
    assert answer(["END"], [b"a EN"]) == (["a ", "EN"], False)
    assert answer(["\n", "b"], [b"ab\n"]) == (["a", ""], True)
    assert answer([""], [b"ab"]) == (["ab", ""], False)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tools": [{}]}, "tools_not_supported"),
        ({"functions": [{}]}, "tools_not_supported"),
        ({"n": 2}, "n_not_supported"),
        ({"logprobs": True}, "logprobs_not_supported"),
        ({"logit_bias": {"50256": -100}}, "logit_bias_not_supported"),
        ({"response_format": {"type": "json_object"}}, "response_format_not_supported"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tools_not_supported"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "content_not_supported",
        ),
        ({"messages": [{"role": "user", "content": "a\ud800"}]}, "text_not_unicode"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "\udfff"}]}]},
            "text_not_unicode",
        ),
        ({"stop": ["x", "\ud800"]}, "text_not_unicode"),
    ],
)
def test_what_it_cannot_do_is_refused(fields: dict[str, object], code: str) -> None:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "x"}], **fields})
    with pytest.raises(BadInput) as refused:
        body.chat()
    assert refused.value.code == code


def test_openais_fields_become_ours() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = ChatBody.model_validate(
        {
            "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}],
            "max_tokens": 5,
            "max_completion_tokens": 0,
            "stop": "x",
            "temperature": 0,
            "top_p": 0,
            "logit_bias": {},
            "tools": [],
            "parallel_tool_calls": True,
            "user": "someone",
        }
    )
    chat = body.chat()
    assert chat.messages == (Message("system", "s"), Message("user", "ab"))
    assert (chat.max_tokens, chat.stops, chat.sampling.temperature) == (0, ("x",), 0)
