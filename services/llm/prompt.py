"""From a conversation to tokens that fit the window."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from appliance.errors import BadInput
from services.llm.vocabulary import Message

# Turns are dropped several at once: dropping one each turn would change the prompt's beginning
# every time, and the model would have to read all of it again.
_DROPPED_AT_ONCE = 4

Tokens = list[int]
Render = Callable[[Sequence[Message]], Tokens]


def joined(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of the same role as one message; many templates refuse two in a row."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = Message(message.role, f"{found[-1].text}\n{message.text}")
        else:
            found.append(message)
    return found


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

    def after(cut: int) -> Tokens:
        return render(joined([*messages[:head], *messages[cut:]]))

    tokens, cut = after(head), head
    if len(tokens) > room_tokens:
        # Rendering thousands of messages takes a while; the longer the cut, the fewer the tokens.
        cut = cuts[
            min(bisect_left(cuts, -room_tokens, key=lambda c: -len(after(c))), len(cuts) - 1)
        ]
        tokens = after(cut)
    if len(tokens) <= room_tokens:
        return tokens, cut - head
    raise BadInput(
        "context_length_exceeded", "The last message alone is longer than the model's window.",
        "Send less text, or raise the setting llm.context_tokens.",
    )  # fmt: skip
