"""Where the model's words are cut for the voice."""

from __future__ import annotations

import pytest

from services.agent.clauses import ClauseTokenizer, first_clause_end, least_clause

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("The capital of Italy is Rome.", "The capital of Italy is Rome."),
        ("As far as I know, it is", "As far as I know,"),
        ("It is hot today. And", "It is hot today."),
        ("Really, it is not so. And", "Really, it is not so."),
        ("今天天气很好。我们", "今天天气很好。"),
        ("他说：“今天天气很好！”然后", "他说：“今天天气很好！”"),
        ("这个城市有很长的历史，它", "这个城市有很长的历史，"),
        ("今日はいい天気です。公園", "今日はいい天気です。"),
        ("この町には長い歴史があり、川", "この町には長い歴史があり、"),
        ("आज मौसम बहुत अच्छा है।", "आज मौसम बहुत अच्छा है।"),
        ("क्या आप आज आएंगे? हम", "क्या आप आज आएंगे?"),
        ("هل ستأتي اليوم؟", "هل ستأتي اليوم؟"),
    ],
)
def test_the_first_clause_ends_at_the_first_sign_with_enough_before_it(
    text: str, clause: str
) -> None:
    end = first_clause_end(text)
    assert end is not None
    assert text[:end] == clause


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes, it",
        "Yes.",
        "The number pi is about 3.",
        "It was written by J.",
        "I spoke with Dr.",
        "好的。",
        "是的，我",
    ],
)
def test_too_little_or_undecided_text_waits(text: str) -> None:
    assert first_clause_end(text) is None


async def spoken(words: list[str]) -> list[str]:
    stream = ClauseTokenizer().stream()
    for word in words:
        stream.push_text(word)
    stream.end_input()
    pieces = [piece.token.strip() async for piece in stream]
    await stream.aclose()
    return pieces


async def test_the_first_clause_is_given_out_before_the_next_word() -> None:
    stream = ClauseTokenizer().stream()
    for word in ("As ", "far ", "as I ", "know,", " "):
        stream.push_text(word)
    assert (await anext(stream)).token == "As far as I know,"
    await stream.aclose()


async def test_nothing_is_lost_between_clause_and_sentences() -> None:
    text = "As far as I know, the river is long. It flows to the sea. It is very old indeed."
    words = [word + " " for word in text.split()]
    pieces = await spoken(words)
    assert pieces[0] == "As far as I know,"
    assert " ".join(pieces) == text


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("今天天气很好。我们去公园吧！", "今天天气很好。"),
        ("今日はいい天気です。公園に行きましょう。", "今日はいい天気です。"),
        ("आज मौसम अच्छा है। हम पार्क जाएंगे।", "आज मौसम अच्छा है।"),
    ],
)
async def test_the_first_sentence_is_given_out_while_the_next_is_written(
    answer: str, first: str
) -> None:
    stream = ClauseTokenizer(lambda: 0.0).stream()
    for sign in answer[: len(first) + 3]:
        stream.push_text(sign)
    assert (await anext(stream)).token == first
    await stream.aclose()


async def test_a_short_answer_is_spoken_when_the_model_ends() -> None:
    assert await spoken(["Yes", "."]) == ["Yes."]


async def test_no_words_make_no_pieces() -> None:
    assert await spoken([]) == []


@pytest.mark.parametrize(("per_s", "clause"), [(500, True), (60, True), (20, False), (5, False)])
async def test_a_slow_model_does_not_let_the_sound_run_dry_after_a_clause(
    per_s: int, *, clause: bool
) -> None:
    now = 0.0

    def clock() -> float:
        return now

    stream = ClauseTokenizer(clock).stream()
    for letter in "As far as I know, it is Rome, the old one, ":
        stream.push_text(letter)
        now += 1 / per_s
    stream.push_text("and so on. ")
    stream.end_input()
    pieces = [piece.token.strip() async for piece in stream]
    await stream.aclose()
    assert (pieces[0] == "As far as I know,") is clause
    assert " ".join(pieces) == "As far as I know, it is Rome, the old one, and so on."


def test_the_slower_the_model_the_longer_its_first_clause() -> None:
    assert least_clause(40, 0.1) == least_clause(0, 0.0)
    assert least_clause(40, 0.1) < least_clause(40, 1.0) < least_clause(40, 4.0)
