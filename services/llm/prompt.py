"""From a conversation to tokens that fit the window."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

from appliance.errors import BadInput
from services.llm.vocabulary import Message

# Turns are dropped several at once: dropping one each turn would change the prompt's beginning
# every time, and the model would have to read all of it again.
_DROPPED_AT_ONCE = 4

STACK_BYTES = 256 << 20
"""Stack of a thread that tokenises; it is memory only as far as it is used."""
# The library's regular expressions call themselves for each character of a word, some 330 bytes
# of stack each time. Words of up to twice this length are let through, and need half the stack.
_WORD_CHARS = STACK_BYTES // (4 * 330)
# What those expressions take for a blank. Python's own blanks are more: U+001C to U+001F, too.
_BLANK = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")

Tokens = list[int]
Render = Callable[[Sequence[Message]], Tokens | None]
"""None: it would be far too long, and was not tokenised."""


def joined(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of the same role as one message; many templates refuse two in a row."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = Message(message.role, f"{found[-1].text}\n{message.text}")
        else:
            found.append(message)
    return found


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The same for a template that knows no system: a user says it, in front of his own words."""
    found: list[Message] = []
    for message in messages:
        role = "user" if message.role == "system" else message.role
        if found and found[-1].role == role:
            found[-1] = Message(role, f"{found[-1].text}\n\n{message.text}")
        else:
            found.append(Message(role, message.text))
    return found


def has_endless_word(text: str) -> bool:
    """Whether a word, or the blank between two, is longer than a thread's stack may be deep."""
    # A word of twice the length fills one of these pieces, wherever it begins.
    starts = range(0, len(text) - _WORD_CHARS + 1, _WORD_CHARS)
    return any(not _has_two_words(text[at : at + _WORD_CHARS]) for at in starts)


def _has_two_words(text: str) -> bool:
    # The first may be nothing, before a blank.
    return sum(map(bool, _BLANK.split(text, 2))) > 1


def fitted(
    messages: Sequence[Message], keep: int, room_tokens: int, render: Render
) -> tuple[Tokens, int]:
    """Tokens of the conversation, without its oldest turns if it is too long.

    System messages at the start, the first ``keep`` messages and the last message stay.

    Returns:
        The tokens, and how many messages were left out.

    Raises:
        BadInput: even without them it is longer than ``room_tokens``.
    """
    head = 0
    while head < len(messages) - 1 and (messages[head].role == "system" or head < keep):
        head += 1
    # Where a user speaks is where the conversation may begin again.
    starts = [i for i in range(head, len(messages)) if messages[i].role == "user"]
    cuts = [head, *starts[_DROPPED_AT_ONCE::_DROPPED_AT_ONCE]]
    last = starts[-1] if starts else len(messages) - 1
    if cuts[-1] != last:
        cuts.append(last)

    def after(cut: int) -> Tokens | None:
        tokens = render(joined([*messages[:head], *messages[cut:]]))
        return None if tokens is None or len(tokens) > room_tokens else tokens

    tokens, cut = after(head), head
    if tokens is None:
        # Rendering thousands of messages takes a while; the longer the cut, the fewer the tokens.
        first = bisect_left(cuts, True, key=lambda c: after(c) is not None)
        cut = cuts[min(first, len(cuts) - 1)]
        tokens = after(cut)
    if tokens is not None:
        return tokens, cut - head
    raise BadInput(
        "context_length_exceeded", "The last message alone is longer than the model's window.",
        "Send less text, or raise the setting llm.context_tokens.",
    )  # fmt: skip
