"""The part of OpenAI's API that other programs already speak: hear, translate, answer, speak."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from appliance.errors import NotFound
from services.panel.speech.relay import relayed
from services.panel.speech.services import Services

router = APIRouter(prefix="/v1", tags=["speech"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is wrong; the message says where."},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`, or an address that is not fetched."},
    404: {"description": "`model_not_found`, `voice_not_found`"},
    413: {"description": "`body_too_large`, `audio_too_long`, `text_too_long`"},
    503: {"description": "`busy` or `not_ready`, with Retry-After."},
    504: {"description": "`deadline`"},
}


class Model(BaseModel):
    """One model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: Literal["stt", "llm", "tts"]


class ModelList(BaseModel):
    """Everything that is served."""

    object: Literal["list"]
    data: list[Model]


def _form(*fields: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"file": {"type": "string", "format": "binary"}}
    properties |= {name: {"type": "string"} for name in fields}
    schema = {"type": "object", "required": ["file"], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def _json(required: list[str], **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_HEARD = _form("model", "language", "prompt", "response_format", "temperature")
_ASKED = _json(
    ["messages"],
    model={"type": "string"},
    messages={
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"enum": ["system", "user", "assistant"]},
                "content": {"type": "string"},
            },
        },
    },
    stream={"type": "boolean"},
    max_tokens={"type": "integer", "minimum": 0},
    temperature={"type": "number", "minimum": 0, "maximum": 2},
)
_SAID = _json(
    ["input"],
    model={"type": "string"},
    input={"type": "string"},
    voice={"type": "string"},
    response_format={"enum": ["pcm", "wav", "flac", "mp3", "opus"]},
    speed={"type": "number", "minimum": 0.25, "maximum": 4},
)


@router.post("/audio/transcriptions", responses=_ERRORS, openapi_extra=_HEARD)
async def transcribe(request: Request) -> Response:
    """Write a recording down."""
    return await relayed(request, _services(request), "stt", "/v1/audio/transcriptions")


@router.post("/audio/translations", responses=_ERRORS, openapi_extra=_HEARD)
async def translate(request: Request) -> Response:
    """Write a recording down in English."""
    return await relayed(request, _services(request), "stt", "/v1/audio/translations")


@router.post("/audio/speech", responses=_ERRORS, openapi_extra=_SAID)
async def speak(request: Request) -> Response:
    """Speak a text; the sound comes as it is made."""
    return await relayed(request, _services(request), "tts", "/v1/audio/speech")


@router.post("/chat/completions", responses=_ERRORS, openapi_extra=_ASKED)
async def chat(request: Request) -> Response:
    """Answer a conversation, whole or word by word."""
    return await relayed(request, _services(request), "llm", "/v1/chat/completions")


@router.get("/models", responses=_ERRORS)
async def list_models(request: Request) -> ModelList:
    """What is served: the language model, the ear and the voices."""
    found = await _services(request).models()
    return ModelList(object="list", data=[Model(**model) for model in found])


@router.get("/models/{model_id}", responses=_ERRORS)
async def one_model(request: Request, model_id: str) -> Model:
    """One of them."""
    for model in await _services(request).models():
        if model["id"] == model_id:
            return Model(**model)
    raise NotFound(
        "model_not_found", "There is no such model here.", "GET /v1/models lists what is served."
    )


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
