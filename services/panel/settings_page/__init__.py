"""The settings as a form: what they are, what a change would do, and saving it."""

from __future__ import annotations

from fastapi import FastAPI

from appliance.settings import Settings
from appliance.supervision import supervisor_of
from services.panel.settings_page.keeper import Keeper
from services.panel.settings_page.restarting import Restarter
from services.panel.settings_page.waiting import WaitingList


def install(app: FastAPI, settings: Settings) -> None:
    """Put the keeper of the settings and the restarter where the pages and the API find them."""
    app.state.keeper = Keeper(settings, WaitingList(settings, supervisor_of(settings)))
    app.state.restarter = Restarter()
