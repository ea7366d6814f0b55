"""Restarting the programs that a saved setting asks for, one after another, the panel last."""

from __future__ import annotations

import asyncio
from typing import Protocol

from appliance.errors import BadInput, NotReady
from appliance.setting_effects import WHOLE_BOX

PROGRAMS = ("stt", "llm", "tts", "agent", "panel")
"""What may be restarted from here, in this order. LiveKit and the front doors carry open calls."""
_PANEL_GONE_S = 10.0
WHOLE_BOX_COMMAND = "scripts/appliance down && scripts/appliance run --detach"


class Hands(Protocol):
    """Who restarts one program."""

    async def check(self, name: str) -> None:
        """Pass if this program can be restarted."""

    async def restart(self, name: str) -> None:
        """Restart it, and wait until it is being started."""


class Restarter:
    """Restarts programs in the background, one row of them at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether programs are being restarted now."""
        return self._task is not None and not self._task.done()

    async def restart(self, hands: Hands, programs: list[str]) -> list[str]:
        """Begin to restart these; returns them in the order in which it happens.

        Raises:
            BadInput: one of them is not restarted from here.
            NotReady: nobody supervises the programs, or a restart is under way.
        """
        if set(programs) & set(WHOLE_BOX):
            raise BadInput(
                "whole_box", "These settings need a restart of the whole box.",
                f"Type `{WHOLE_BOX_COMMAND}` on the machine; open calls end.",
            )  # fmt: skip
        if unknown := [name for name in programs if name not in PROGRAMS]:
            raise BadInput(
                "program_unknown", f"{unknown[0][:40]!r} is not restarted from here.",
                f"It may be one of {', '.join(PROGRAMS)}.",
            )  # fmt: skip
        if self.busy:
            raise NotReady("not_ready", "Programs are being restarted already.", "Wait a moment.")
        wanted = [name for name in PROGRAMS if name in programs]
        for name in wanted:
            await hands.check(name)
        self._task = asyncio.create_task(_restart(hands, wanted))
        return wanted


async def _restart(hands: Hands, programs: list[str]) -> None:
    for name in programs:
        await hands.restart(name)
    if "panel" in programs:
        # Busy until this process is gone: a page that asks meanwhile is to ask again.
        await asyncio.sleep(_PANEL_GONE_S)
