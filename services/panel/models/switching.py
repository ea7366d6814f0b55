"""The change of a model: step by step, each step on the disk before it is taken.

checking → draining → stopping → starting → canary → committed, or rolled back to the last good
model. ``selection.json`` is written here alone. A new panel goes on where the last one died.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from appliance import logs
from appliance.catalogue.entries import Task
from appliance.catalogue.selection import (
    Selection,
    Switch,
    SwitchState,
    read_selection,
    wished,
    write_selection,
)
from appliance.errors import ApplianceError, NotReady, TimedOut
from appliance.settings import Settings
from services.panel.models.asking import Hands, Pace, SwitchUnderWay, Wish

log = logs.get(__name__)

_TAKEN_UP_MOST = 2
"""A switch whose panel died more often than this is rolled back: it may be the reason."""
_LEAST_DRAIN_S = 0.5
TASKS: tuple[Task, ...] = ("stt", "llm", "tts")
_NOTHING: dict[str, Any] = {}


class Switcher:
    """The one switch of the box.

    Args:
        settings: the box's.
        hands: what reaches the services.
        tell: told of every new state.
        pace: how long each step may take.
    """

    def __init__(
        self,
        settings: Settings,
        hands: Hands,
        tell: Callable[[dict[str, Any]], None] = lambda _state: None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._hands = hands
        self._tell = tell
        self._pace = pace or Pace()
        self._beginning = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._switch: Switch | None = None

    async def resume(self) -> None:
        """Go on with what the last panel left, or finish its way back."""
        try:
            selection = await asyncio.to_thread(read_selection, self._settings)
        except ApplianceError as error:
            # Without it the box serves the models of the settings; the page says so.
            log.error("selection_unreadable", why=str(error))
            return
        self._switch = selection.switch
        if selection.switch is None or selection.switch.finished:
            return
        times = selection.switch.taken_up + 1
        log.warning("switch_taken_up", state=selection.switch.state, times=times)
        await self._keep(selection.switch.model_copy(update={"taken_up": times}))
        self._task = asyncio.create_task(self._run(), name="switcher.run")

    async def follow_settings(self) -> None:
        """Try each model that the settings have begun to ask for since the last switch, once.

        A box that was never switched serves what the settings say anyway.
        """
        await self.settle()
        for task in TASKS:
            if getattr(self._settings, task).url:
                # The settings name that server's model.
                continue
            try:
                selection = await asyncio.to_thread(read_selection, self._settings)
                wish, before = wished(self._settings, task), selection.wishes.get(task)
                if before in (None, wish) or wish == selection.settled(task):
                    continue
                log.info("settings_wish", task=task, to=wish)
                await self.begin(Wish(task, wish, "settings"))
                await self.settle()
            except (ApplianceError, ValidationError) as error:
                log.error("wish_not_followed", task=task, why=str(error))

    async def begin(self, wish: Wish) -> Switch:
        """Begin a switch; what comes of it is seen in ``state``.

        Raises:
            SwitchUnderWay: there is one already.
        """
        async with self._beginning:
            selection = await asyncio.to_thread(read_selection, self._settings)
            if self.busy or (selection.switch and not selection.switch.finished):
                raise SwitchUnderWay(
                    "switch_under_way", "Another model is being changed just now.",
                    "Wait until it is done.", can_retry=True,
                )  # fmt: skip
            before = selection.settled(wish.task) or wished(self._settings, wish.task)
            switch = Switch(
                task=wish.task, to=wish.to, state="checking", before=before,
                context_tokens=wish.context_tokens, asked_by=wish.asked_by,
            ).entered("checking")  # fmt: skip
            await self._keep(switch)
            self._task = asyncio.create_task(self._run(), name="switcher.run")
            return switch

    async def close(self) -> None:
        """Leave a switch as it is; the next panel goes on with it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def settle(self) -> None:
        """Wait until no switch is under way."""
        if self._task is not None:
            await asyncio.shield(self._task)

    @property
    def busy(self) -> bool:
        """Whether a switch is under way in this process."""
        return self._task is not None and not self._task.done()

    @property
    def pause(self) -> str:
        """Why no new call is taken now, in a sentence; empty if they are."""
        if self._switch is not None and self._switch.under_way:
            return "The models are being changed."
        return ""

    def require_calm(self) -> None:
        """Pass if calls may begin.

        Raises:
            NotReady: a model is being changed.
        """
        if self.pause:
            raise NotReady("not_ready", self.pause, "Try again in a minute.", can_retry=True)

    def state(self) -> dict[str, Any] | None:
        """The latest switch as JSON; None if there never was one."""
        return shown(self._switch) if self._switch else None

    async def _run(self) -> None:
        switch = self._now
        steps = {
            "checking": self._check, "draining": self._drain, "stopping": self._stop,
            "starting": self._start, "canary": self._try,
        }  # fmt: skip
        try:
            if switch.taken_up > _TAKEN_UP_MOST and switch.state in steps:
                raise NotReady("switch_died", f"The panel died {switch.taken_up} times during it.")
            while (state := self._now.state) in steps:
                await steps[state]()
        except ApplianceError as error:
            await self._roll_back(str(error))
        except Exception as error:
            # Whatever a library raised: the box must serve again, and the log has the rest.
            log.exception("switch_broken", error=type(error).__name__)
            await self._roll_back("Something unexpected went wrong; the panel's log says what.")
        if self._now.state == "rolled_back" and not self._now.finished:
            await self._go_back()
        await self._hands.finished(self._now)

    @property
    def _now(self) -> Switch:
        if self._switch is None:
            raise RuntimeError("there is no switch")
        return self._switch

    async def _check(self) -> None:
        await self._hands.check(self._now)
        before = None
        if self._now.context_tokens is not None:
            before = await self._hands.context()
        await self._enter("draining", context_before=before)

    async def _drain(self) -> None:
        """Let what is being answered be finished; whoever asks anew waits by itself."""
        began = time.monotonic()
        while (spent := time.monotonic() - began) < self._pace.drain:
            if spent >= min(_LEAST_DRAIN_S, self._pace.drain / 2) and not await self._in_flight():
                break
            await asyncio.sleep(self._pace.look)
        await self._enter("stopping")

    async def _in_flight(self) -> int:
        try:
            return await self._hands.in_flight(self._now.task)
        except ApplianceError as error:
            # A service that does not answer has nothing under way that could be waited for.
            log.info("service_silent", task=self._now.task, code=error.code)
            return 0

    async def _stop(self) -> None:
        await self._hands.stop(self._now.task)
        if self._now.context_tokens is not None:
            await self._hands.keep_context(self._now.context_tokens)
        # The file must name the state before the service can start in it.
        await self._enter("starting")

    async def _start(self) -> None:
        await self._hands.start(self._now.task)
        await self._wait_ready()
        await self._enter("canary")

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._pace.start
        while (condition := await self._hands.condition(self._now.task)).state != "ready":
            if condition.state in ("failed", "ended"):
                raise NotReady("model_not_loaded", condition.why)
            if time.monotonic() > deadline:
                raise TimedOut("model_slow", f"It was not loaded within {self._pace.start:.0f} s.")
            await asyncio.sleep(self._pace.look)

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(self._pace.canary):
                await self._hands.canary(self._now)
        except TimeoutError:
            raise TimedOut(
                "canary_slow", f"It did not answer a question within {self._pace.canary:.0f} s."
            ) from None
        task, to = self._now.task, self._now.to
        await self._enter("committed", serving={task: to}, finished=True)

    async def _roll_back(self, reason: str) -> None:
        touched = self._now.state not in ("checking", "draining")
        log.warning("switch_rolled_back", task=self._now.task, to=self._now.to, why=reason)
        task = self._now.task
        selection = await asyncio.to_thread(read_selection, self._settings)
        good = selection.settled(task)
        await self._enter(
            "rolled_back", serving={task: good} if good else None, reason=reason,
            finished=not touched,
        )  # fmt: skip

    async def _go_back(self) -> None:
        """Bring the last good model back, whatever each single step says."""
        task = self._now.task
        with _told("stop", task):
            await self._hands.stop(task)
        if self._now.context_tokens is not None:
            with _told("settings", task):
                await self._hands.keep_context(self._now.context_before)
        why = ""
        try:
            await self._hands.start(task)
            await self._wait_ready()
        except ApplianceError as error:
            why = f" The model before does not start either: {error}"
            log.error("last_good_not_back", task=task, why=str(error))
        await self._enter("rolled_back", finished=True, reason=self._now.reason + why)

    async def _enter(
        self, state: SwitchState, *, serving: dict[Task, str] | None = None, **changes: object
    ) -> None:
        await self._keep(self._now.entered(state, **changes), serving)

    async def _keep(self, switch: Switch, serving: dict[Task, str] | None = None) -> None:
        """On the disk first, then in here and on the pages."""
        selection = await asyncio.to_thread(read_selection, self._settings)
        # Whatever comes of it: what the settings ask for was tried, or was passed over.
        wish = {switch.task: wished(self._settings, switch.task)} if switch.finished else _NOTHING
        selection = Selection(
            current={**selection.current, **(serving or _NOTHING)},
            last_good={**selection.last_good, **(serving or _NOTHING)},
            wishes={**selection.wishes, **wish},
            switch=switch,
        )
        await asyncio.to_thread(write_selection, self._settings, selection)
        self._switch = switch
        log.info("switch_state", task=switch.task, to=switch.to, state=switch.state)
        self._tell(shown(switch))


def shown(switch: Switch) -> dict[str, Any]:
    """A switch as JSON for the page."""
    return {
        **switch.model_dump(mode="json", exclude={"taken_up", "context_before"}),
        "under_way": not switch.finished,
    }


@contextlib.contextmanager
def _told(what: str, task: Task) -> Any:
    try:
        yield
    except ApplianceError as error:
        log.error("way_back_stumbled", step=what, task=task, why=str(error))
