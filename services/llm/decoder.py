"""The one thread that computes: every step takes all conversations a token or a piece further."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from appliance import logs
from appliance.errors import ApplianceError, Superseded
from appliance.serving import Priority
from appliance.serving.scheduler import described
from services.llm.asked import Asked, Broken, ContextFull, Done, Item, Read
from services.llm.context import Ids, Logits, Row
from services.llm.sampling import PENALTY_TOKENS, Picker
from services.llm.slots import Memory, Slot, Slots

log = logs.get(__name__)

# After so many tokens the first sentence is out and a reply is ahead of its speaker; until then
# no other caller's early work takes part.
_URGENT_TOKENS = 32
# llama_decode's word for "no room"; nothing has changed then.
_NO_ROOM = 1


class Words(Protocol):
    """What the decoder has to know of a model's vocabulary."""

    ends: frozenset[int]


class Steps(Memory, Protocol):
    """What the decoder has to know of a context."""

    window_tokens: int

    def decode(self, rows: list[Row]) -> int: ...

    def logits(self, position: int) -> tuple[Logits, Ids | None]: ...


class _Talk:
    """A conversation that is under way."""

    def __init__(self, asked: Asked, slot: Slot) -> None:
        self.asked = asked
        self.slot = slot
        self.known = slot.length
        self.said = 0
        self._picker = Picker(asked.sampling)
        self._last: Ids = np.zeros(1, np.int32)
        # Without an answer the last token is left: it will have to be read for its logits anyway.
        self._end = len(asked.prompt) if asked.most else len(asked.prompt) - 1

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for it now."""
        return self.asked.priority is Priority.LIVE and self.said < _URGENT_TOKENS

    @property
    def is_read(self) -> bool:
        """Whether all of its prompt that is needed has been read."""
        return self.slot.length >= self._end

    @property
    def unread(self) -> int:
        """Tokens of its prompt that are still to be read."""
        return self._end - self.slot.length

    def next_token(self) -> Row:
        """The token said last, which the model has not read yet."""
        return Row(self.slot.sequence, self.slot.length, self._last, True)

    def next_piece(self, room: int) -> Row:
        """At most ``room`` further tokens of the prompt."""
        start = self.slot.length
        end = min(start + room, self._end)
        is_last = bool(self.asked.most) and end == self._end
        return Row(self.slot.sequence, start, self.asked.prompt[start:end], is_last)

    def pick(self, logits: Logits, ids: Ids | None) -> int:
        """The token to be said after what was read."""
        if not self._picker.penalises:
            return self._picker.pick(logits, ids)
        end = self.slot.length
        return self._picker.pick(logits, ids, self.slot.tokens[max(0, end - PENALTY_TOKENS) : end])

    def say(self, token: int) -> None:
        """Note a token that is said."""
        self._last[0] = token
        self.said += 1


class Decoder:
    """Runs on a thread of its own; a second thread that computes would cost a third of the speed."""

    def __init__(
        self, load: Callable[[], tuple[Words, Steps]], *, slots: int, step_tokens: int
    ) -> None:
        """
        Args:
            load: makes the model and its context, on the decoder's thread.
            slots: conversations that are kept at once, the one for other programs' work included.
            step_tokens: of prompts in one step; half of it while somebody else is speaking.
        """
        self._load = load
        self._slot_count = slots
        self._step_tokens = step_tokens
        self._inbox: SimpleQueue[Asked | None] = SimpleQueue()
        self._waiting: list[Asked] = []
        self._talks: list[_Talk] = []  # in the order of their places
        self._loaded: SimpleQueue[Exception | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="decoder", daemon=True)

    def start(self) -> None:
        """Load the model.

        Raises:
            ApplianceError: it cannot be loaded.
        """
        self._thread.start()
        if (failed := self._loaded.get()) is not None:
            raise failed

    def close(self) -> None:
        """End what runs, and the thread. The model stays loaded until its owner closes it."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, asked: Asked) -> None:
        """Let it take part from the next step on."""
        self._inbox.put(asked)

    def _serve(self) -> None:
        try:
            self._words, self._context = self._load()
        except Exception as error:  # noqa: BLE001  it is raised again in start()
            self._loaded.put(error)
            return
        self._slots = Slots(self._context, self._slot_count, self._context.window_tokens)
        self._loaded.put(None)
        while not self._is_closed:
            try:
                self._take_in()
                if self._talks:
                    self._step()
            except Exception as error:  # noqa: BLE001  one bad step must not end all later ones
                log.error("decoder_failed", **described(error))
                for talk in self._talks[:]:
                    self._fail(talk, Broken())
                for asked in self._waiting:
                    asked.out.put(Broken())
                self._waiting.clear()
        for talk in self._talks[:]:
            self._leave(talk, Done.LEFT)
        for asked in self._waiting:
            asked.out.put(Done.LEFT)

    def _take_in(self) -> None:
        """Let go who has left, and begin with who is new; waits while nothing is to be done."""
        for talk in [one for one in self._talks if one.asked.is_unwanted]:
            self._leave(talk, Done.LEFT)
        if not self._talks and not self._waiting:
            self._note(self._inbox.get())
        while not self._inbox.empty():
            self._note(self._inbox.get())
        if not self._waiting:
            return
        for talk in [one for one in self._talks if self._is_overtaken(one.asked)]:
            # Its place is its room's own: else the newer request would take another room's.
            self._leave(talk, _superseded())
        # As many places as calls at once: nobody waits here for longer than a step.
        for asked in sorted(self._waiting, key=lambda one: one.priority):
            if asked.is_unwanted:
                asked.out.put(Done.LEFT)
            elif not self._begin(asked):
                continue
            self._waiting.remove(asked)

    def _is_overtaken(self, asked: Asked) -> bool:
        """Whether it is a room's early work, and the room asks for something newer."""
        return (
            asked.session != ""
            and asked.priority not in (Priority.LIVE, Priority.BACKGROUND)
            and any(
                newer.session == asked.session and newer.priority <= asked.priority
                for newer in self._waiting
                if not newer.is_unwanted
            )
        )

    def _note(self, found: Asked | None) -> None:
        if found is None:
            self._is_closed = True
        else:
            self._waiting.append(found)

    def _begin(self, asked: Asked) -> bool:
        slot = self._slots.take(asked.session, asked.prompt, background=asked.is_background)
        if slot is None:
            return False
        talk = _Talk(asked, slot)
        bisect.insort(self._talks, talk, key=_place)
        asked.out.put(Read(talk.known))
        if talk.is_read:
            self._leave(talk, Done.LENGTH)
        return True

    def _leave(self, talk: _Talk, item: Item) -> None:
        self._talks.remove(talk)
        talk.slot.busy = False
        talk.asked.out.put(item)

    def _fail(self, talk: _Talk, error: ApplianceError) -> None:
        self._slots.cut(talk.slot, 0)
        self._leave(talk, error)

    def _taking_part(self) -> list[_Talk]:
        """Whose turn it is: callers who wait for words, then all calls, then other programs."""
        if any(talk.is_urgent for talk in self._talks):
            return [one for one in self._talks if one.asked.priority is Priority.LIVE]
        return [one for one in self._talks if not one.asked.is_background] or self._talks

    def _step(self) -> None:
        parts: list[tuple[_Talk, Row]] = []
        reading: list[_Talk] = []
        for talk in self._taking_part():
            if talk.said:
                parts.append((talk, talk.next_token()))
            else:
                reading.append(talk)
        room = self._step_tokens // 2 if parts else self._step_tokens
        # A long prompt takes what the short ones leave: their callers wait a step, not for all of it.
        for talk in sorted(reading, key=lambda one: one.unread):
            if room > 0:
                row = talk.next_piece(room)
                parts.append((talk, row))
                room -= len(row.tokens)
        # Conversations that are not in the order of their places, llama.cpp computes one after another.
        if reading:
            parts.sort(key=lambda part: part[1].sequence)
        failed = self._context.decode([row for _, row in parts])
        if failed:
            self._each_alone(parts, failed)
            return
        last = -1
        for talk, row in parts:
            last += len(row.tokens)
            self._go_on(talk, row, last)

    def _each_alone(self, parts: Sequence[tuple[_Talk, Row]], failed: int) -> None:
        """Take a failed step again, one conversation after another: only who fails alone is told."""
        for talk, _ in parts:
            if failed != _NO_ROOM:
                slot = talk.slot
                slot.length = self._context.cut(slot.sequence, slot.length)
        for talk, row in parts:
            if talk.slot.length != row.start:
                # A model that cannot forget a part has lost the whole.
                self._fail(talk, Broken())
                continue
            alone = self._context.decode([row])
            if alone:
                log.info("step_failed", code=alone, tokens=row.start + len(row.tokens))
                self._fail(talk, ContextFull() if alone == _NO_ROOM else Broken())
            else:
                self._go_on(talk, row, len(row.tokens) - 1)

    def _go_on(self, talk: _Talk, row: Row, position: int) -> None:
        """Note what was read; pick and give out the next token where one is due."""
        talk.slot.add(row.tokens)
        out = talk.asked.out
        if not talk.said:
            out.put(Read(talk.known))
        if not row.wants_logits:
            if talk.is_read:
                self._leave(talk, Done.LENGTH)
            return
        try:
            token = talk.pick(*self._context.logits(position))
        except Exception as error:  # noqa: BLE001  no other talk may end with this one
            log.error("request_failed", engine="llm", **described(error))
            self._fail(talk, Broken())
            return
        if token in self._words.ends:
            self._leave(talk, Done.STOP)
            return
        talk.say(token)
        # What it spells, its reader finds out: here the model would wait for it.
        out.put(token)
        if talk.said >= talk.asked.most:
            self._leave(talk, Done.LENGTH)


def _place(talk: _Talk) -> int:
    return talk.slot.sequence


def _superseded() -> Superseded:
    return Superseded(
        "superseded", "The same room has asked for something newer.",
        "Ask again if still needed.", can_retry=True,
    )  # fmt: skip
