"""Four people call at the same moment: each is greeted, and a fifth is told at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from appliance.calling import Caller
from appliance.errors import NotReady
from appliance.seats import seats_of
from tests.box import Box
from tests.results import note

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SEATS = 4
GREETED_WITHIN_S = 20.0
AT_ONCE_S = 5.0


async def test_four_callers_at_one_moment_are_greeted_and_a_fifth_is_told(box: Box) -> None:
    assert seats_of(box.settings).count == SEATS
    callers = [Caller(box.url, token=box.token) for _ in range(SEATS)]
    async with AsyncExitStack() as stack:
        for caller in callers:
            stack.push_async_callback(_hang_up, caller)
        began = time.monotonic()
        async with asyncio.timeout(GREETED_WITHIN_S):
            greeted = await asyncio.gather(*(_greeted_after_s(caller, began) for caller in callers))
        fifth = Caller(box.url, token=box.token)
        stack.push_async_callback(fifth.leave)
        asked = time.monotonic()
        with pytest.raises(NotReady) as told:
            await fifth.join()
        answered_s = time.monotonic() - asked
    note(
        "four callers at one moment",
        greeted_s=[round(seconds, 2) for seconds in greeted], fifth_told_s=round(answered_s, 3),
    )  # fmt: skip
    assert told.value.code == "box_full"
    assert answered_s < AT_ONCE_S


async def _greeted_after_s(caller: Caller, began: float) -> float:
    """Seconds until the greeting's first sound reached this caller."""
    await caller.join()
    assert await caller.until(lambda: caller.ear.first_loud(caller.joined_at), GREETED_WITHIN_S)
    first = caller.ear.first_loud(caller.joined_at)
    assert first is not None
    return first - began


async def _hang_up(caller: Caller) -> None:
    if caller.session_id:
        await caller.end()
    else:
        await caller.leave()
