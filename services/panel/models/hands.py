"""What a switch does to the real box: files checked, services stopped and started, models tried."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import httpx

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.catalogue.digests import refuse_damaged, verify_model
from appliance.catalogue.entries import Task
from appliance.catalogue.licences import is_permissive, licence_of
from appliance.catalogue.memory import fit_for
from appliance.catalogue.reading import shape_of_installed
from appliance.catalogue.selection import Switch
from appliance.errors import ApplianceError, NotReady, Refused
from appliance.gpu import GpuReader
from appliance.settings import Settings
from appliance.settings_file import changed, effective, read_file, save
from appliance.store import Store
from appliance.store.audit import Deed
from appliance.supervision import supervisor_of
from services.panel.models import canary
from services.panel.models.asking import Condition
from services.panel.settings_page.waiting import WaitingList
from services.panel.speech.services import Services

log = logs.get(__name__)

_CONTEXT = "llm.context_tokens"
_PROBE_S = 3.0
_RUNNING = re.compile(r"^earshot_(?:requests_running|queue_length)\{[^}]*\} ([\d.]+)", re.MULTILINE)
_ENDED = ("BACKOFF", "EXITED", "FATAL", "UNKNOWN")


class BoxHands:
    """The hands of a switch on this box.

    Args:
        settings: the box's.
        store: where licences and deeds are kept.
        services: the clients of the three services.
        gpu: reads the GPU.
    """

    def __init__(
        self, settings: Settings, store: Store, services: Services, gpu: GpuReader
    ) -> None:
        self._settings = settings
        self._store = store
        self._services = services
        self._gpu = gpu
        self._supervisor = supervisor_of(settings)
        self._waiting = WaitingList(settings, self._supervisor)
        self._pids: dict[Task, int] = {}

    async def check(self, switch: Switch) -> None:
        """Refuse a model whose files, licence or need for memory do not allow it."""
        await asyncio.to_thread(self._check, switch)

    def _check(self, switch: Switch) -> None:
        if getattr(self._settings, switch.task).url:
            raise Refused(
                "service_elsewhere", f"Another server does the work of {switch.task}.",
                f"Take the setting {switch.task}.url away to use the box's own models.",
            )  # fmt: skip
        catalogue = Catalogue(self._settings)
        model = catalogue.installed(switch.task, switch.to)
        shape = shape_of_installed(model)
        refuse_unaccepted(self._store, model.id, licence_of(model.entry, shape))
        refuse_damaged(model, verify_model(model))
        now = effective(self._settings, read_file(self._settings).values)
        if switch.context_tokens is not None:
            changed(read_file(self._settings), {_CONTEXT: switch.context_tokens}, tried=True)
        fit = fit_for(
            now, catalogue, model.id, switch.task, self._gpu.read(), switch.context_tokens
        )
        if fit.answer == "too_big":
            raise Refused(
                "model_too_big", fit.because,
                "Choose a smaller model, a shorter context, or free some memory.",
            )  # fmt: skip

    async def in_flight(self, task: Task) -> int:
        """Requests that the service is answering."""
        try:
            answer = await self._services.client(task).get("/metrics", timeout=_PROBE_S)
        except httpx.HTTPError as error:
            raise NotReady("service_away", f"{task} does not answer.") from error
        return round(sum(float(found) for found in _RUNNING.findall(answer.text)))

    async def stop(self, task: Task) -> None:
        """Stop the service and wait until it is gone."""
        await asyncio.to_thread(self._supervisor.stop, task)

    async def start(self, task: Task) -> None:
        """Start the service; no error if it runs."""
        self._pids.pop(task, None)
        await asyncio.to_thread(self._supervisor.start, task)

    async def condition(self, task: Task) -> Condition:
        """How the service is; one whose process was replaced has ended on the way."""
        process = await asyncio.to_thread(self._supervisor.process, task)
        known = self._pids.setdefault(task, process.pid) if process.pid else self._pids.get(task)
        if process.state in _ENDED or (process.pid and known != process.pid):
            return Condition("ended", "The program ended while it loaded the model.")
        try:
            answer = await self._services.client(task).get("/readyz", timeout=_PROBE_S)
            said = answer.json()
        except (httpx.HTTPError, ValueError):
            return Condition("loading")
        if not isinstance(said, dict):
            return Condition("loading")
        return Condition(str(said.get("state", "loading")), str(said.get("why") or ""))

    async def canary(self, switch: Switch) -> None:
        """Refuse a model that does not answer a real request sensibly."""
        client = self._services.client(switch.task)
        if switch.task == "llm":
            now = await asyncio.to_thread(self._effective)
            await canary.try_llm(client, now.llm.context_tokens)
        elif switch.task == "stt":
            await canary.try_stt(client)
        else:
            await canary.try_tts(client, switch.to)

    async def context(self) -> int | None:
        """The language model's context in settings.toml; None if it says nothing."""
        file = await asyncio.to_thread(read_file, self._settings)
        found = file.values.get(_CONTEXT)
        return found if isinstance(found, int) else None

    async def keep_context(self, tokens: int | None) -> None:
        """Write the language model's context into settings.toml; None takes it out."""

        def keep() -> None:
            version = read_file(self._settings).version
            save(self._settings, {_CONTEXT: tokens}, version, tried=True)
            # The service starts after this and reads it; the agent runs on with the old one.
            self._waiting.add([_CONTEXT])

        await asyncio.to_thread(keep)

    async def finished(self, switch: Switch) -> None:
        """Write down how it ended."""
        good = switch.state == "committed"
        deed = Deed(
            switch.asked_by or "box", "", "model.switched" if good else "switch.rolled_back",
            switch.to, "ok" if good else "failed",
            {"task": switch.task, "before": switch.before, "why": switch.reason},
        )  # fmt: skip
        with suppress(ApplianceError):
            # A full disk must not make a finished switch look unfinished.
            await asyncio.to_thread(self._store.audit.append, deed)

    def _effective(self) -> Settings:
        return effective(self._settings, read_file(self._settings).values)


def refuse_unaccepted(store: Store, model_id: str, licence: str) -> None:
    """Refuse a model whose licence has to be accepted first and was not.

    Raises:
        Refused: says which licence it is.
    """
    if not is_permissive(licence) and not store.licences.is_accepted(model_id, licence):
        raise Refused(
            "licence_not_accepted", f"The licence of {model_id!r} was not accepted yet: {licence}.",
            "Read it, and accept it on the page Models.",
        )  # fmt: skip
