"""What may be reached without signing in, and what a key's scope opens. Everything else: ``admin``.

Routes are named by method and template, as they are declared. A route that is in neither list needs
``admin``, so a forgotten one is closed. A test walks every route of the app against these lists.
"""

from __future__ import annotations

from services.panel.access.principal import Scope

Route = tuple[str, str]

PUBLIC: frozenset[Route] = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/static"),
        ("GET", "/sign-in"),
        ("POST", "/sign-in"),
        ("POST", "/sign-out"),
        ("GET", "/set-up"),
        ("POST", "/set-up"),
        # Guests: each checks the link, or the secret of the one call.
        ("GET", "/join/{token}"),
        ("POST", "/api/v1/guest/sessions"),
        ("POST", "/api/v1/guest/sessions/queue/{ticket}"),
        ("DELETE", "/api/v1/guest/sessions/queue/{ticket}"),
        ("GET", "/api/v1/guest/sessions/{session_id}"),
        ("GET", "/api/v1/guest/sessions/{session_id}/transcript"),
        ("POST", "/api/v1/guest/sessions/{session_id}/end"),
        ("POST", "/api/v1/guest/sessions/{session_id}/dispatch"),
        ("POST", "/api/v1/guest/sessions/{session_id}/feedback"),
        # The box's own programs: on the socket alone, or signed by the media server.
        ("POST", "/internal/v1/jobs/{session_id}"),
        ("POST", "/internal/livekit"),
    }
)
"""Open to everybody. What is guarded by a secret of its own checks that secret itself."""

SCOPES: dict[Route, Scope] = {
    ("POST", "/api/v1/sessions"): Scope.CALLS,
    ("POST", "/api/v1/sessions/queue/{ticket}"): Scope.CALLS,
    ("DELETE", "/api/v1/sessions/queue/{ticket}"): Scope.CALLS,
    ("POST", "/api/v1/sessions/{session_id}/end"): Scope.CALLS,
    ("POST", "/api/v1/sessions/{session_id}/dispatch"): Scope.CALLS,
    ("GET", "/api/v1/sessions"): Scope.READ,
    ("GET", "/api/v1/sessions/{session_id}"): Scope.READ,
    ("GET", "/api/v1/sessions/{session_id}/transcript"): Scope.READ,
    ("POST", "/api/v1/sessions/{session_id}/feedback"): Scope.CALLS,
    ("GET", "/api/v1/calls"): Scope.READ,
    ("GET", "/api/v1/calls/{session_id}"): Scope.READ,
    ("GET", "/api/v1/calls/{session_id}/export"): Scope.READ,
    ("GET", "/api/v1/models"): Scope.READ,
    ("GET", "/api/v1/models/room"): Scope.READ,
    ("GET", "/api/v1/models/switch"): Scope.READ,
    ("GET", "/api/v1/models/{model_id}/fit"): Scope.READ,
    ("GET", "/api/v1/openapi.json"): Scope.READ,
    ("GET", "/api/v1/events"): Scope.READ,
    ("GET", "/api/v1/doctor"): Scope.READ,
    ("GET", "/api/v1/doctor/digests"): Scope.READ,
    ("GET", "/api/v1/proof"): Scope.READ,
    ("GET", "/metrics"): Scope.READ,
    ("GET", "/api/v1/box"): Scope.READ,
    ("GET", "/api/v1/box/history"): Scope.READ,
    ("GET", "/api/v1/personas"): Scope.READ,
    ("GET", "/api/v1/personas/{name}"): Scope.READ,
    ("GET", "/api/v1/personas/{name}/yaml"): Scope.READ,
    ("GET", "/v1/livekit/status"): Scope.CALLS,
    ("POST", "/v1/livekit/token"): Scope.CALLS,
    ("POST", "/v1/audio/transcriptions"): Scope.SPEECH,
    ("POST", "/v1/audio/translations"): Scope.SPEECH,
    ("POST", "/v1/audio/speech"): Scope.SPEECH,
    ("POST", "/v1/chat/completions"): Scope.SPEECH,
    ("GET", "/v1/models"): Scope.SPEECH,
    ("GET", "/v1/models/{model_id}"): Scope.SPEECH,
}
"""Which scope a key needs, where it is not ``admin``. The owner has them all."""

FORMS: frozenset[Route] = frozenset(
    {
        ("POST", "/sign-in"),
        ("POST", "/sign-out"),
        ("POST", "/set-up"),
        ("POST", "/account/password"),
        ("POST", "/account/browsers/{short}/sign-out"),
        ("POST", "/access/keys"),
        ("POST", "/access/keys/{key_id}/revoke"),
        ("POST", "/access/keys/{key_id}/delete"),
    }
)
"""Plain forms, which no script sends: they need an Origin of ours instead of the header."""

BODY_BYTES = 64 << 10
LARGE_BODIES: dict[Route, int | None] = {
    # A settings.toml of 60,000 characters, each of which may be written as an escape.
    ("POST", "/api/v1/doctor/loop"): 512 << 10,
    ("POST", "/api/v1/settings/import"): 768 << 10,
    ("POST", "/api/v1/settings/import/preview"): 768 << 10,
    ("POST", "/settings/import"): 768 << 10,
    ("POST", "/settings/import/review"): 768 << 10,
    ("POST", "/internal/livekit"): 512 << 10,
    ("POST", "/internal/v1/jobs/{session_id}"): None,
    # A persona holds up to 88,000 characters, each of which may be written as an escape.
    ("POST", "/api/v1/personas"): 768 << 10,
    ("POST", "/api/v1/personas/import"): 768 << 10,
    ("POST", "/api/v1/personas/test"): 768 << 10,
    ("PUT", "/api/v1/personas/{name}"): 768 << 10,
    ("POST", "/v1/audio/transcriptions"): None,
    ("POST", "/v1/audio/translations"): None,
    ("POST", "/v1/audio/speech"): None,
    ("POST", "/v1/chat/completions"): None,
    ("PUT", "/api/v1/models/uploads/{model_id}/{part}"): None,
}
"""The most bytes that a body may have, where it is not 64 KiB. None: streamed, the handler reads
``request.stream()`` and counts for itself."""
