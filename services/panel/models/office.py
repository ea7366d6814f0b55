"""All that has to do with models in one panel, made at its start and closed at its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fastapi import FastAPI, Request

from appliance.catalogue.pulling import pull_model
from appliance.gpu import GpuReader, reader_of
from appliance.settings import Settings
from appliance.store import Store
from services.panel.events import Bus
from services.panel.models.asking import Hands
from services.panel.models.hands import BoxHands
from services.panel.models.shelf import Shelf
from services.panel.models.switching import Switcher
from services.panel.models.uploads import Uploads
from services.panel.models.work import Fetch, Workshop
from services.panel.speech.services import Services


@dataclass(frozen=True)
class Office:
    """Shelf, workshop, uploads and the switcher."""

    shelf: Shelf
    workshop: Workshop
    uploads: Uploads
    switcher: Switcher
    gpu: GpuReader
    _following: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> None:
        """Throw away half uploads, go on with a switch that an earlier panel began, follow the settings."""
        await asyncio.to_thread(self.uploads.clear)
        await self.switcher.resume()
        self._following.append(asyncio.create_task(self.switcher.follow_settings()))

    async def close(self) -> None:
        """Stop what is under way; a switch goes on in the next panel."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self.switcher.close()
        await self.workshop.close()
        await asyncio.to_thread(self.gpu.close)


def make_office(
    settings: Settings,
    store: Store,
    services: Services,
    bus: Bus,
    *,
    hands: Hands | None = None,
    fetch: Fetch = pull_model,
) -> Office:
    """The box's, or with other hands and another source a test's."""
    gpu = reader_of(settings)
    return Office(
        shelf=Shelf(settings, store, gpu),
        workshop=Workshop(settings, lambda work: bus.publish("pull", work), fetch),
        uploads=Uploads(settings),
        switcher=Switcher(
            settings,
            hands or BoxHands(settings, store, services, gpu),
            lambda state: bus.publish("switch", state),
        ),
        gpu=gpu,
    )


def office_of(request: Request) -> Office:
    """The office of the app that was asked."""
    app: FastAPI = request.app
    office: Office = app.state.models
    return office
