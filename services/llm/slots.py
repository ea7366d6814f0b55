"""Which conversation lies in which place of the cache, and what of it a new prompt can use."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from services.llm.context import Ids

# Copying takes the whole of a conversation's cache in hand; below this, reading is quicker.
_WORTH_COPYING = 64
_SAME_TALK = 0.5


class Memory(Protocol):
    """The cache as the slots see it."""

    can_copy: bool

    def cut(self, sequence: int, keep: int) -> int: ...

    def copy(self, source: int, target: int) -> None: ...


class Slot:
    """A place for one conversation, and the tokens that lie in it."""

    def __init__(self, sequence: int, size: int) -> None:
        self.sequence = sequence
        self.tokens: Ids = np.zeros(size, np.int32)
        self.length = 0
        self.session = ""
        """Whose it is; empty: a stranger's."""
        self.busy = False
        self.used = 0
        """When it was last taken: larger is later."""

    def common(self, prompt: Ids) -> int:
        """How many of its tokens this prompt begins with."""
        length = min(self.length, len(prompt))
        differs = np.flatnonzero(self.tokens[:length] != prompt[:length])
        return int(differs[0]) if len(differs) else length

    def add(self, tokens: Ids) -> None:
        """Note tokens that the model has read."""
        count = len(tokens)
        if count == 1:
            self.tokens[self.length] = tokens[0]
        else:
            self.tokens[self.length : self.length + count] = tokens
        self.length += count


class Slots:
    """All places. The last one is for other programs' work, which so never costs a call its own."""

    def __init__(self, memory: Memory, count: int, size: int) -> None:
        """
        Args:
            memory: the cache behind them.
            count: how many there are, at least 2.
            size: longest conversation, in tokens.
        """
        self._memory = memory
        self._all = [Slot(number, size) for number in range(count)]
        self._clock = 0

    def take(self, session: str, prompt: Ids, *, background: bool) -> Slot | None:
        """A place for this prompt, with as much of its beginning in it as is known anywhere.

        The last token is never taken as known: what follows it has to be computed.

        Returns:
            None while every place is in use.
        """
        known = prompt[:-1]
        mine = self._all[-1:] if background else self._all[:-1]
        free = [slot for slot in mine if not slot.busy]
        if not free:
            return None
        slot = self._choose(free, session, known)
        common = slot.common(known)
        if self._memory.can_copy:
            best = max(self._all, key=lambda one: one.common(known))
            if best.common(known) >= common + _WORTH_COPYING:
                self._memory.copy(best.sequence, slot.sequence)
                common = best.common(known)
                slot.tokens[: best.length], slot.length = best.tokens[: best.length], best.length
        self.cut(slot, common)
        for other in self._all:
            if session and other.session == session:
                other.session = ""
        self._clock += 1
        slot.session, slot.busy, slot.used = session, True, self._clock
        return slot

    def cut(self, slot: Slot, keep: int) -> None:
        """Forget what lies behind a slot's first ``keep`` tokens."""
        if keep == slot.length and keep:
            return
        slot.length = self._memory.cut(slot.sequence, keep)

    def _choose(self, free: list[Slot], session: str, known: Ids) -> Slot:
        own = [slot for slot in free if session and slot.session == session]
        if own:
            return own[0]
        # A stranger goes on where a stranger's talk of the same beginning lies.
        alike = [
            slot
            for slot in free
            if not slot.session and slot.length and slot.common(known) >= _SAME_TALK * slot.length
        ]
        if alike and not session:
            return max(alike, key=lambda slot: slot.common(known))
        # Else who was silent for longest loses his place; those who have none first.
        return min(free, key=lambda slot: (slot.length > 0, bool(slot.session), slot.used))
