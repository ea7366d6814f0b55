"""HTML pages: one module each, all rendered here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates

from appliance import __version__
from services.panel.access import principal_of
from services.panel.pages.filters import FILTERS

HERE = Path(__file__).resolve().parent.parent
_templates = Jinja2Templates(HERE / "templates")
_templates.env.filters.update(FILTERS)


def render(
    request: Request, template: str, *, active: str = "", status: int = 200, **values: Any
) -> Response:
    """One page.

    Args:
        request: what is answered.
        template: a file of ``templates/``.
        active: the entry of the navigation that this page belongs to, e.g. ``calls``.
        status: the HTTP status.
        values: what the template shows.
    """
    known = {"version": __version__, "active": active, "principal": principal_of(request)}
    return _templates.TemplateResponse(request, template, {**known, **values}, status_code=status)
