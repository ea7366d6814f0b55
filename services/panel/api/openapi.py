"""The description of the API, as programs read it."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from services.panel.access.policy import PUBLIC, SCOPES
from services.panel.access.principal import Scope

router = APIRouter(prefix="/api/v1", include_in_schema=False)
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "can_retry"],
            "properties": {
                "code": {"type": "string", "description": "Stable name for programs."},
                "message": {"type": "string", "description": "What happened."},
                "hint": {"type": "string", "description": "What to do about it."},
                "can_retry": {
                    "type": "boolean",
                    "description": "Whether the same request can succeed later.",
                },
            },
        }
    },
}
_SHAPE = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_ALWAYS = {"400": "`bad_request`", "401": "`not_signed_in`", "403": "`scope_missing` and others"}
# What FastAPI writes for its own answer to a wrong request, which is 400 here.
_NOT_OURS = ("HTTPValidationError", "ValidationError")


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    app: FastAPI = request.app
    if app.openapi_schema is None:
        app.openapi_schema = describe(app)
    return JSONResponse(app.openapi_schema)


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's own description, with what the gate and the guard add to every route."""
    document = get_openapi(
        title="Earshot", version=app.version, routes=app.routes,
        description="A private voice assistant in a box. docs/api.md tells it in sentences.",
    )  # fmt: skip
    known = {(method, _shown(path)): (method, path) for method, path in (*PUBLIC, *SCOPES)}
    paths = {
        path: methods
        for path, methods in document["paths"].items()
        if not path.startswith("/internal/")
    }
    for path, methods in paths.items():
        for method, operation in methods.items():
            route = (method.upper(), path)
            _complete(operation, known.get(route, route))
    document["paths"] = paths
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    components["securitySchemes"] = {
        "key": {
            "type": "http", "scheme": "bearer",
            "description": "A key from the page Access, or on the box its local token.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "earshot",
            "description": "The owner's browser. What changes something needs the header X-Earshot-Client: 1 too.",
        },
    }  # fmt: skip
    return document


def _shown(path: str) -> str:
    """A template without its convertors, as the document writes it."""
    return re.sub(r":\w+}", "}", path)


def _complete(operation: dict[str, Any], route: tuple[str, str]) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    responses.pop("422", None)
    always = dict(_ALWAYS)
    if route in PUBLIC:
        operation["security"] = []
    else:
        operation["security"] = [{"key": []}, {"cookie": []}]
        operation["x-scope"] = SCOPES.get(route, Scope.ADMIN).value
    if "{" in route[1]:
        always["404"] = "There is none of this name."
    if "requestBody" in operation:
        always["413"] = "`body_too_large`"
    for status, told in always.items():
        responses.setdefault(status, {"description": told})
    for status, response in responses.items():
        if status[0] in "45":
            response["content"] = _SHAPE
