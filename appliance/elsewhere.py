"""Servers of the owner's own that stand in for the box's model services (``stt.url`` and so on)."""

from __future__ import annotations

from typing import Any

from appliance.setting_groups import LlmSettings, SttSettings, TtsSettings

Place = SttSettings | LlmSettings | TtsSettings

NO_THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
"""Fields of a chat request as llama-server, vLLM and SGLang take them."""


def root(place: Place) -> str:
    """Its address without ``/v1``, which not everybody writes."""
    return place.url.rstrip("/").removesuffix("/v1")


def bearer(place: Place) -> dict[str, str]:
    """The header that shows it its key; none where it asks for none, or for the box's own service."""
    key = place.api_key.get_secret_value()
    return {"Authorization": f"Bearer {key}"} if place.url and key else {}
