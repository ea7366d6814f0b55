"""Errors as people and programs get them: one shape, and never an exception's own text."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from appliance.errors import ApplianceError, BadInput, NotFound
from services.panel.admission import POLL_S, BoxFull
from services.panel.pages import render

_RETRY_AFTER_S = {"box_full": 10, "not_ready": 3, "livekit_unavailable": 3}
_HEADINGS = {403: "Not allowed", 404: "Not found", 410: "Gone", 429: "Too often", 503: "Not now"}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def error_answer(error: ApplianceError) -> JSONResponse:
    """One error as JSON, with Retry-After where trying again can help."""
    told: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        # OpenAI's clients read this one; programs of ours go by the code.
        "type": "invalid_request_error" if error.http_status < 500 else "server_error",
        "hint": error.hint,
        "can_retry": error.can_retry,
    }
    body = {"error": told}
    if isinstance(error, BoxFull):
        told["before_you"] = error.before_you
        if error.place is not None:
            place = error.place
            body["queue"] = {
                "ticket": place.ticket, "before_you": place.before_you, "poll_s": POLL_S
            }  # fmt: skip
    answer = JSONResponse(body, status_code=error.http_status)
    if error.retry_after_s is not None:
        answer.headers["Retry-After"] = str(error.retry_after_s)
    elif error.http_status == 503:
        answer.headers["Retry-After"] = str(_RETRY_AFTER_S.get(error.code, 5))
    return answer


def internal_error() -> JSONResponse:
    """The answer to a mistake of ours."""
    return error_answer(
        ApplianceError(
            "internal", "Something went wrong inside the panel.",
            "`scripts/appliance logs panel` shows what.",
        )
    )  # fmt: skip


def install(app: FastAPI) -> None:
    """Give every expected failure of this app the same shape."""
    app.add_exception_handler(ApplianceError, _appliance_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http_error)


def told(request: Request, error: ApplianceError) -> Response:
    """One error as who asks can read it: a page for somebody who opened an address, else JSON."""
    answer = error_answer(error)
    if not _is_by_hand(request):
        return answer
    page = render(
        request, "error.html", status=error.http_status, message=error.message, hint=error.hint,
        heading=_HEADINGS.get(error.http_status, "That did not work"),
    )  # fmt: skip
    if "retry-after" in answer.headers:
        page.headers["Retry-After"] = answer.headers["retry-after"]
    return page


def _is_by_hand(request: Request) -> bool:
    headers = request.headers
    return "text/html" in headers.get("accept", "") and "hx-request" not in headers


async def _appliance_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApplianceError):
        raise error
    return told(request, error)


async def _bad_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # The first mistake is enough; the value itself may be what someone said.
    found = error.errors()
    where = [str(part) for part in found[0]["loc"] if part != "body"] if found else []
    name = ".".join(where) or "the body"
    return told(
        request,
        BadInput(
            "bad_request",
            f"The request is wrong at {name[:100]}.",
            "docs/api.md says what it may be.",
        ),
    )


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _HTTP_CODES.get(error.status_code, "bad_request")
    sentence = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": "This address does not take that method.",
    }.get(code, "The request cannot be understood.")
    kind = NotFound if error.status_code == 404 else BadInput
    hint = "" if _is_by_hand(request) else "docs/api.md lists what there is."
    answer = told(request, kind(code, sentence, hint))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer
