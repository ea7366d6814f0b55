"""The box is being stopped: every caller is told, their calls end, and no new one begins."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import Session
from services.panel.desk import Desk

NOTICE = "box_stops"
WORDS = "Earshot is being stopped. This call ends now."
# The agent's recording, and the road to the caller's ear.
SPOKEN_S = 4.5
# A call that was just being admitted is seen in the second.
_ROUNDS = 2

log = logs.get(__name__)
router = APIRouter(prefix="/internal")


class Farewell:
    """Ends all calls, once it is begun.

    Attributes:
        pause: why no call may begin; empty until then.
    """

    def __init__(self, desk: Desk) -> None:
        self.pause = ""
        self._desk = desk
        self._task: asyncio.Task[None] | None = None

    async def go_on(self) -> int:
        """Begin, unless it is under way; returns how many calls are still open.

        Raises:
            ApplianceError: the store does not answer.
        """
        # One that broke, or left a call behind, is begun again: whoever stops the box asks on.
        if self._task is None or self._task.done():
            self.pause = "The box is being stopped."
            self._task = asyncio.create_task(self._all(), name="farewell")
            self._task.add_done_callback(_told_if_broken)
        return len(await self._open())

    async def _open(self) -> list[Session]:
        return await asyncio.to_thread(self._desk.store.sessions.open)

    async def _all(self) -> None:
        for _round in range(_ROUNDS):
            sessions = await self._open()
            log.info("calls_ended_by_stop", calls=len(sessions))
            ends = (self._end(session) for session in sessions)
            for found in await asyncio.gather(*ends, return_exceptions=True):
                # One call's surprise must not keep the others from being told and ended.
                if isinstance(found, BaseException):
                    log.error("call_not_ended", exc_info=found)

    async def _end(self, session: Session) -> None:
        desk = self._desk
        call = desk.book.add(session)
        try:
            if call.job is None:
                await desk.rooms.notify(call.room, NOTICE, WORDS)
            else:
                await desk.tell(call, NOTICE)
                await asyncio.sleep(SPOKEN_S)
        except ApplianceError as error:
            log.warning("not_said", session=session.id, notice=NOTICE, code=error.code)
        except Exception:
            # Whatever it was: a call that could not be told still has to be ended and written.
            log.exception("not_said", session=session.id, notice=NOTICE)
        try:
            await desk.hang_up(session.id, "the box was stopped")
        except ApplianceError as error:
            log.error("end_not_written", session=session.id, code=error.code)


def _told_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("call_not_ended", exc_info=error)


@router.post("/v1/farewell")
async def farewell(request: Request) -> dict[str, int]:
    """Asked by whoever stops the box, until no call is open."""
    one: Farewell = request.app.state.farewell
    return {"open": await one.go_on()}
