"""Reading a plain form. Only urlencoded ones: a parser of multipart bodies is a risk of its own."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from appliance.errors import BadInput

_MOST_FIELDS = 100


async def form_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form, each with its values; control characters and NUL are kept out of none.

    Raises:
        BadInput: it is no urlencoded form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadInput("bad_request", "A form was expected.", "Use the page's own form.")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError as error:
        raise BadInput("bad_request", "The form cannot be read.") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def field(form: dict[str, list[str]], name: str) -> str:
    """The first value of a field, or empty."""
    return form.get(name, [""])[0]
