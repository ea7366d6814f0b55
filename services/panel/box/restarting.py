"""Restarting one program of the box, also one that carries the request itself."""

from __future__ import annotations

import asyncio

from appliance import logs
from appliance.errors import ApplianceError, NotFound, NotReady
from appliance.rendering import programs
from appliance.settings import Settings
from appliance.supervision import Supervisor

log = logs.get(__name__)


class Restarts:
    """Restarts programs, each once at a time."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def check_name(self, name: str) -> None:
        """Pass if the box has this program.

        Raises:
            NotFound: it has not.
        """
        names = [known.name for known in programs(self._settings)]
        if name not in names:
            raise NotFound(
                "program_unknown", "The box has no such program.", f"It has {', '.join(names)}."
            )

    async def check(self, name: str) -> None:
        """Pass if this program can be restarted.

        Raises:
            NotFound: the box has no such program.
            NotReady: nobody supervises the programs.
        """
        self.check_name(name)
        try:
            await asyncio.to_thread(self._supervisor.process, name)
        except NotReady as error:
            raise NotReady(
                "not_ready", "Nothing runs and watches the programs of this box just now.",
                "Start the box with `scripts/run`.", can_retry=True,
            ) from error  # fmt: skip

    async def restart(self, name: str) -> None:
        """Restart it, after ``check``, and wait until it is being started; a failure is logged."""
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(self._restart(name))
            task.add_done_callback(lambda _done: self._under_way.pop(name, None))
        await asyncio.shield(task)

    async def _restart(self, name: str) -> None:
        try:
            if name == "panel":
                # It would be gone before it could start itself; after an end it is started anyway.
                await asyncio.to_thread(self._supervisor.signal, name, "TERM")
            else:
                await asyncio.to_thread(self._supervisor.restart, name)
        except ApplianceError as error:
            log.error("restart_failed", program=name, code=error.code, why=str(error))
