"""The box as a whole, as its owner sees it: figures, their last hour, what went wrong."""

from __future__ import annotations

from fastapi import FastAPI

from appliance.settings import Settings
from appliance.supervision import supervisor_of
from services.panel.box.restarting import Restarts
from services.panel.box.sampler import Sampler, Senses, senses_of
from services.panel.box.state import Box
from services.panel.calls import Book


def install(app: FastAPI, settings: Settings, senses: Senses | None = None) -> Sampler:
    """Put the box where its page and its API find it; who runs the app runs the sampler."""
    state = app.state
    book: Book = state.desk.book
    book.changed = lambda: state.bus.publish("calls", {"open": len(book)})
    sampler = Sampler(senses or senses_of(settings), state.readiness, state.bus, lambda: len(book))
    state.box = Box(settings, state.desk, state.readiness, sampler)
    state.restarts = Restarts(settings, supervisor_of(settings))
    return sampler
