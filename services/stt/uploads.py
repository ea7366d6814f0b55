"""Takes the recording and the fields out of a request's body."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from appliance.errors import BadInput, Refused, TooLarge
from appliance.serving import Request

_JSON_MB = 25
"""A JSON body is held in memory several times over."""
_IN_MEMORY_BYTES = 8 << 20
"""Four minutes of plain 16 kHz sound: what callers say never reaches a disk, only long files do."""


@dataclass(frozen=True)
class Upload:
    """A recording with the request's other fields."""

    audio: BinaryIO
    size: int
    fields: dict[str, Any]


async def read_upload(http: Request, folder: Path) -> Upload:
    """The body of a transcription request.

    Args:
        http: the request.
        folder: the owner's alone; holds what is too long for memory, in a file without a name.

    Raises:
        BadInput: there is no recording in it.
        Refused: it wants the recording fetched from an address.
        TooLarge: it is JSON and larger than 25 MB.
    """
    kind = http.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(http, folder)
    if kind == "application/json":
        return await _from_json(http)
    raise BadInput(
        "wrong_content_type",
        "The body is neither a form nor JSON.",
        "Send multipart/form-data with a file, or JSON with audio_base64.",
    )


class _Form(MultiPartParser):
    """Starlette's own would write sound beyond 1 MB into the system's folder of temporary files."""

    def __init__(self, http: Request, folder: Path) -> None:
        super().__init__(http.headers, http.stream(), max_files=1, max_fields=32)
        self._folder = folder

    def on_headers_finished(self) -> None:
        """A part begins; a file's is given a place."""
        super().on_headers_finished()
        part = self._current_part
        if part.file is None:
            return
        place = SpooledTemporaryFile[bytes](max_size=_IN_MEMORY_BYTES, dir=str(self._folder))
        part.file.file.close()
        part.file = UploadFile(
            cast("BinaryIO", place), size=0, filename=part.file.filename, headers=part.file.headers
        )
        self._files_to_close_on_error[-1] = place


async def _from_form(http: Request, folder: Path) -> Upload:
    # Not closed here: whoever decodes the file may outlive a client that has left.
    try:
        form = await _Form(http, folder).parse()
    except MultiPartException:
        raise BadInput(
            "invalid_request", "The form in the body cannot be read.", "docs/api.md has its fields."
        ) from None
    fields: dict[str, Any] = {}
    for name in form:
        texts = [value for value in form.getlist(name) if isinstance(value, str)]
        if texts:
            fields[name] = texts if name.startswith("timestamp_granularities") else texts[-1]
    _refuse_address(fields)
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _missing()
    return Upload(file.file, file.size or 0, fields)


async def _from_json(http: Request) -> Upload:
    raw = bytearray()
    async for part in http.stream():
        raw += part
        if len(raw) > _JSON_MB << 20:
            raise TooLarge(
                "body_too_large",
                f"A JSON body may have {_JSON_MB} MB.",
                "Send the file as multipart/form-data.",
            )
    fields = await asyncio.to_thread(_parsed, bytes(raw))
    _refuse_address(fields)
    audio = fields.pop("audio_base64", None)
    if not isinstance(audio, str):
        raise _missing()
    sound = await asyncio.to_thread(_decoded, audio)
    return Upload(io.BytesIO(sound), len(sound), fields)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadInput(
            "invalid_json", "The body is not a JSON object.", "docs/api.md has the fields."
        )
    return fields


def _decoded(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(
            "audio_unreadable", "audio_base64 is not base64.", "Encode the whole file."
        ) from None


def _refuse_address(fields: dict[str, Any]) -> None:
    if fields.get("url"):
        raise Refused(
            "url_not_allowed",
            "This box fetches nothing from addresses.",
            "Send the recording itself as file or audio_base64.",
        )


def _missing() -> BadInput:
    return BadInput(
        "file_missing",
        "The request has no recording.",
        "Put it into the field file or audio_base64.",
    )
