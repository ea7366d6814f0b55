"""Restarting the programs that a saved setting asks for, the panel itself last."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from appliance import logs
from appliance.errors import ApplianceError, BadInput, NotReady
from appliance.setting_effects import WHOLE_BOX
from appliance.supervision import Supervisor

PROGRAMS = ("stt", "llm", "tts", "agent", "panel")
"""What may be restarted from here, in this order. LiveKit and the front doors carry open calls."""
WHOLE_BOX_COMMAND = "scripts/appliance down && scripts/run"
# Long enough for the answer to reach whoever asked.
_LAST_WORD_S = 0.5

log = logs.get(__name__)


def end_own_process() -> None:
    """Stop the panel in order; supervisord starts it again."""
    os.kill(os.getpid(), signal.SIGTERM)


class Restarter:
    """Restarts programs one after another, in the background.

    Attributes:
        failed: why a program could not be restarted, by name, since the last time.
    """

    def __init__(
        self, supervisor: Supervisor, end_panel: Callable[[], None] = end_own_process
    ) -> None:
        self._supervisor = supervisor
        self._end_panel = end_panel
        self._task: asyncio.Task[None] | None = None
        self.failed: dict[str, str] = {}

    @property
    def busy(self) -> bool:
        """Whether programs are being restarted now."""
        return self._task is not None and not self._task.done()

    async def restart(self, programs: list[str]) -> list[str]:
        """Begin to restart these; returns them in the order in which it happens.

        Raises:
            BadInput: one of them is not restarted from here.
            NotReady: no supervisord answers, or a restart is under way.
        """
        if set(programs) & set(WHOLE_BOX):
            raise BadInput(
                "whole_box", "These settings need a restart of the whole box.",
                f"Type `{WHOLE_BOX_COMMAND}` on the machine; open calls end.",
            )  # fmt: skip
        for name in programs:
            if name not in PROGRAMS:
                raise BadInput(
                    "program_unknown", f"{name[:40]!r} is not restarted from here.",
                    f"It may be one of {', '.join(PROGRAMS)}.",
                )  # fmt: skip
        if self.busy:
            raise NotReady("not_ready", "Programs are being restarted already.", "Wait a moment.")
        wanted = [name for name in PROGRAMS if name in programs]
        try:
            await asyncio.to_thread(self._supervisor.processes)
        except ApplianceError as error:
            raise NotReady("not_ready", error.message, error.hint, can_retry=True) from error
        self.failed = {}
        self._task = asyncio.create_task(self._restart(wanted))
        return wanted

    async def close(self) -> None:
        """Wait for a restart that is under way; it is short."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _restart(self, programs: list[str]) -> None:
        for name in programs:
            if name == "panel":
                # Stopped by itself it comes back; stopped by supervisord nobody would start it.
                asyncio.get_running_loop().call_later(_LAST_WORD_S, self._end_panel)
                continue
            try:
                await asyncio.to_thread(self._supervisor.restart, name)
            except ApplianceError as error:
                log.warning("restart_failed", program=name, code=error.code)
                self.failed[name] = str(error)
