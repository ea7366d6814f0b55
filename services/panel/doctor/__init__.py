"""The doctor in the panel: the box's own checks, a browser's way to it, and a bundle for help."""

from __future__ import annotations

from fastapi import FastAPI

from appliance.settings import Settings
from services.panel.doctor.checking import Checkups
from services.panel.doctor.digests import DigestCheck


def install(app: FastAPI, settings: Settings) -> None:
    """Put the doctor where its page and its API find it."""
    app.state.checkups = Checkups(settings)
    app.state.digests = DigestCheck(settings)
