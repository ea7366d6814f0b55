"""Deleting calls: when somebody asks, and by itself once they are old; the words leave the files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appliance import logs
from appliance.errors import ApplianceError
from appliance.settings import Settings
from appliance.store import Store
from appliance.store.audit import Deed
from appliance.store.calls import Deleted

EVERY_S = 3600.0
SCRUB_AGAIN_S = 20.0
_SCRUB_TRIES = 5
_BETWEEN_TRIES_S = 0.2

log = logs.get(__name__)


@dataclass(frozen=True)
class Deletion:
    """What was deleted. ``scrubbed``: the words are out of the database's files already."""

    calls: int
    turns: int
    scrubbed: bool


class Purge:
    """The one who deletes calls.

    Args:
        settings: say how long calls are kept.
        store: holds them.
        now: the time of day, in UTC.
        sleep: lets seconds pass.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._keep_days = settings.access.keep_calls_days
        self._store = store
        self._now = now
        self._sleep = sleep
        self.scrub_due = False
        """Whether deleted words may still be in the database's write-ahead log."""

    async def run(self) -> None:
        """Delete what is too old, now and every hour, until cancelled."""
        left = 0.0
        while True:
            try:
                if left <= 0:
                    left = EVERY_S
                    await self.step()
                elif self.scrub_due:
                    await self._scrub()
            except ApplianceError as error:
                log.warning("purge_failed", code=error.code)
            except Exception:
                # A mistake of ours in one round must not keep words for ever.
                log.exception("purge_broken")
            # A deletion that somebody asks for meanwhile may leave its scrubbing to this loop.
            await self._sleep(SCRUB_AGAIN_S)
            left -= SCRUB_AGAIN_S

    async def step(self) -> Deletion:
        """Delete the calls that are older than the setting allows, and note it."""
        # The panel may have died between a deletion and its scrubbing, or the command may have
        # found a reader in its way.
        self.scrub_due = True
        if self._keep_days == 0:
            return Deletion(0, 0, await self._scrub())
        deletion = await self.delete_older_than(self._keep_days)
        if deletion.calls:
            log.info("calls_purged", calls=deletion.calls, scrubbed=deletion.scrubbed)
            detail = {"calls": deletion.calls, "older_than_days": self._keep_days}
            deed = Deed("box", "", "calls.purged", detail=detail)
            await asyncio.to_thread(self._store.audit.append, deed)
        return deletion

    def before(self, days: int) -> datetime:
        """The moment this many days ago; the beginning of time if there is none.

        Args:
            days: 0 or more.
        """
        try:
            return self._now() - timedelta(days=days)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)

    async def delete(self, session_id: str) -> Deletion:
        """Delete one ended call.

        Raises:
            NotFound: there is no such call.
            Refused: it has not ended.
        """
        return await self._scrubbed(await asyncio.to_thread(self._store.calls.delete, session_id))

    async def delete_older_than(self, days: int) -> Deletion:
        """Delete every call that ended more than this many days ago."""
        before = self.before(days)
        return await self._scrubbed(await asyncio.to_thread(self._store.calls.delete_ended, before))

    async def delete_all(self) -> Deletion:
        """Delete every call that has ended."""
        return await self._scrubbed(await asyncio.to_thread(self._store.calls.delete_ended))

    async def _scrubbed(self, deleted: Deleted) -> Deletion:
        if deleted.calls:
            self.scrub_due = True
        scrubbed = await self._scrub() if self.scrub_due else True
        return Deletion(deleted.calls, deleted.turns, scrubbed)

    async def _scrub(self) -> bool:
        """Try a few times: who reads the database reads for milliseconds."""
        for attempt in range(_SCRUB_TRIES):
            if attempt:
                await self._sleep(_BETWEEN_TRIES_S)
            if await asyncio.to_thread(self._store.scrub):
                self.scrub_due = False
                await asyncio.to_thread(self._store.reserve.lay_by)
                return True
        log.warning("scrub_postponed")
        return False
