"""Errors as people and programs get them: one shape, and never an exception's own text."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from appliance.errors import ApplianceError, BadInput
from services.panel.admission import POLL_S, BoxFull

_RETRY_AFTER_S = {"box_full": 10, "not_ready": 3, "livekit_unavailable": 3}
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


async def _appliance_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ApplianceError):
        raise error
    return error_answer(error)


async def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # The first mistake is enough; the value itself may be what someone said.
    found = error.errors()
    where = [str(part) for part in found[0]["loc"] if part != "body"] if found else []
    name = ".".join(where) or "the body"
    return error_answer(
        BadInput(
            "bad_request",
            f"The request is wrong at {name[:100]}.",
            "docs/api.md says what it may be.",
        )
    )


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _HTTP_CODES.get(error.status_code, "bad_request")
    sentence = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": "This address does not take that method.",
    }.get(code, "The request cannot be understood.")
    answer = error_answer(BadInput(code, sentence, "docs/api.md lists what there is."))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer
