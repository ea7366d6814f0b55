"""API keys on a page: list, make, show once, revoke."""

from __future__ import annotations

import secrets
from collections import deque

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from appliance.errors import ApplianceError, BadInput, Refused
from services.panel.access import Scope, keys
from services.panel.access.forms import field, form_of
from services.panel.access.keys import LONGEST_DAYS, MadeKey, NewKey
from services.panel.api.keys import KeyId
from services.panel.pages import render

router = APIRouter(prefix="/access/keys", include_in_schema=False)
SCOPES_TOLD = {
    Scope.SPEECH: "Use speech recognition, the language model and the voice",
    Scope.CALLS: "Open and end calls",
    Scope.READ: "Read: state of the box, past calls and their words",
    Scope.ADMIN: "Everything the owner may do",
}
# A form that is sent again, as by loading its answer again, makes no second key.
_MARK_LENGTH = 22
_sent: deque[str] = deque(maxlen=1000)
_WRONG = {
    "name": "Give the key a name of at most 80 characters.",
    "scopes": "Choose at least one thing that the key may do.",
    "expires_in_days": f"A key lasts between 1 and {LONGEST_DAYS} days, or until it is revoked.",
}


@router.get("")
async def list_keys(request: Request) -> Response:
    """Every key, and the form that makes one."""
    return await _page(request)


@router.post("")
async def make_key(request: Request) -> Response:
    """Make one and show it, this once."""
    form = await form_of(request)
    try:
        wanted = _wanted(form)
        _once(field(form, "once"))
        made = await keys.make_key(request, wanted)
    except ApplianceError as error:
        return await _page(request, error=error, given=form)
    return await _page(request, made=made)


@router.post("/{key_id}/revoke")
async def revoke_key(request: Request, key_id: KeyId) -> Response:
    """Close it for ever."""
    await keys.revoke_key(request, key_id)
    return RedirectResponse("/access/keys", 303)


@router.post("/{key_id}/delete")
async def delete_key(request: Request, key_id: KeyId) -> Response:
    """Close it and take it off the list."""
    await keys.delete_key(request, key_id)
    return RedirectResponse("/access/keys", 303)


async def _page(
    request: Request,
    *,
    made: MadeKey | None = None,
    error: ApplianceError | None = None,
    given: dict[str, list[str]] | None = None,
) -> Response:
    return render(
        request, "access_keys.html", active="access", tab="keys", keys=await keys.all_keys(request),
        made=made, error=error, given=given or {}, scopes=SCOPES_TOLD, once=secrets.token_urlsafe(16),
        status=error.http_status if error else 200,
    )  # fmt: skip


def _once(mark: str) -> None:
    """Take this form's mark.

    Raises:
        Refused: the form has been sent before.
        BadInput: it is not the page's own form.
    """
    if len(mark) != _MARK_LENGTH:
        raise BadInput("bad_request", "The form is not complete.", "Use the page's own form.")
    if mark in _sent:
        raise Refused(
            "form_sent_twice", "This form was sent twice; the key was made once.",
            "A key is shown one time only. If you did not see it, revoke it and make another.",
        )  # fmt: skip
    _sent.append(mark)


def _wanted(form: dict[str, list[str]]) -> NewKey:
    """The form's fields.

    Raises:
        BadInput: says which one is wrong.
    """
    days = field(form, "days")
    values = {
        "name": field(form, "name"), "scopes": form.get("scopes", []),
        "expires_in_days": days or None,
    }  # fmt: skip
    try:
        return NewKey.model_validate(values)
    except ValidationError as error:
        first = str(error.errors()[0]["loc"][0])
        raise BadInput("bad_request", _WRONG.get(first, "The form is wrong.")) from error
