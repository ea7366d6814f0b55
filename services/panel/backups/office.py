"""The one who makes backups: when somebody asks, and by night."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from fastapi import Request

from appliance import logs
from appliance.backup.looking import Overview, Shown, look, replace_marked, shown
from appliance.backup.making import alone, check_all, clear_drafts, make
from appliance.backup.nights import is_due
from appliance.backup.shelf import Backup, Shelf
from appliance.errors import ApplianceError
from appliance.settings import Settings
from appliance.store import Store
from appliance.store.audit import Deed

LOOK_EVERY_S = 30.0
TRY_AGAIN = timedelta(hours=1)
log = logs.get(__name__)


class Backups:
    """What the page, the API and the night do with backups.

    Args:
        settings: say for whom they are sealed, where they lie, when they are made.
        store: says which calls are deleted.
        now: the time of day.
        sleep: lets seconds pass.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._store = store
        self._now = now
        self._sleep = sleep
        self._failed_at: datetime | None = None

    async def look(self) -> Overview:
        """All of them.

        Raises:
            ApplianceError: their folder is not there.
        """
        return await asyncio.to_thread(look, self._settings, self._store, self._now())

    async def still_held(self) -> str:
        """What backups hold of deleted calls, in a sentence; empty if nothing, or nobody knows."""
        try:
            return (await self.look()).still_held
        except ApplianceError as error:
            log.warning("backups_unseen", code=error.code)
            return ""

    async def make(self) -> Shown:
        """Make one now.

        Raises:
            ApplianceError: as ``appliance.backup.making.make``.
        """
        return await self._shown(await asyncio.to_thread(make, self._settings))

    async def replace(self) -> tuple[Shown, list[str]]:
        """Make one, then delete those with words of deleted calls; their names.

        Raises:
            ApplianceError: none could be made; then none is deleted.
        """
        made, gone = await asyncio.to_thread(replace_marked, self._settings, self._store)
        return await self._shown(made), gone

    async def check(self) -> Overview:
        """Compare every digest.

        Raises:
            ApplianceError: their folder is not there, or one is being made.
        """
        await asyncio.to_thread(check_all, self._settings)
        return await self.look()

    async def find(self, name: str) -> Backup:
        """The one of this name.

        Raises:
            NotFound: there is none.
        """
        return await asyncio.to_thread(Shelf(self._settings).find, name)

    async def delete(self, name: str) -> None:
        """Delete one.

        Raises:
            NotFound: there is none.
            ApplianceError: it cannot be deleted now.
        """
        await asyncio.to_thread(_remove, self._settings, name)

    async def run(self) -> None:
        """Make one every night, until cancelled; a night when the box was off is made up for."""
        await self._guarded(self._clear)
        while True:
            # Not at once: a box that starts has more urgent work.
            await self._sleep(LOOK_EVERY_S)
            await self._guarded(self.step)

    async def step(self) -> None:
        """Make the night's backup if it is missing; after a failure not more often than hourly.

        Raises:
            ApplianceError: it could not be made.
        """
        now = self._now()
        if not self._settings.backup.recipient:
            return
        if self._failed_at and timedelta() <= now - self._failed_at < TRY_AGAIN:
            return
        try:
            backups = await asyncio.to_thread(Shelf(self._settings).all)
            if not is_due(backups, now, self._settings.backup.hour):
                self._failed_at = None
                return
            made = await asyncio.to_thread(make, self._settings)
        except ApplianceError as error:
            # Home tells it once; the tries that follow are in the log.
            tell = log.warning if self._failed_at else log.error
            tell("backup_failed", code=error.code, why=str(error))
            self._failed_at = now
            return
        self._failed_at = None
        await asyncio.to_thread(self._store.audit.append, Deed("box", "", "backup.made", made.name))
        for one in await asyncio.to_thread(check_all, self._settings):
            if one.state == "damaged":
                log.error("backup_damaged", why=f"{one.name} is not what was written.")

    async def _clear(self) -> None:
        await asyncio.to_thread(clear_drafts, self._settings)

    async def _guarded(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except ApplianceError as error:
            log.warning("backup_round_failed", code=error.code)
        except Exception:
            # A mistake of ours in one round must not be the end of all backups.
            log.exception("backup_broken")

    async def _shown(self, made: Backup) -> Shown:
        return await asyncio.to_thread(shown, self._settings, self._store, made)


def _remove(settings: Settings, name: str) -> None:
    with alone(settings):
        Shelf(settings).remove(name)


def backups_of(request: Request) -> Backups:
    """The panel's."""
    found: Backups = request.app.state.backups
    return found
