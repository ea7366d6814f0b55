"""One JSON line per event on stdout. No speech, token or password is ever in it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

# Keys whose values are words people said, or secrets.
PRIVATE_KEYS = frozenset(
    {
        "text", "transcript", "user_text", "agent_text", "prompt", "messages", "instructions",
        "input", "content", "token", "access_token", "authorization", "cookie", "password",
        "api_key", "api_secret", "secret", "x-api-key",
    }
)  # fmt: skip
_PRIVATE_PREFIX = "lk.pii."
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*")
_API_KEY = re.compile(r"\bearshot_[0-9a-f]{16}_[\w-]+")
_QUERY_TOKEN = re.compile(
    r"((?:access_token|token|password|secret|code)=)[^&\s\"']+", re.IGNORECASE
)
_LINK = re.compile(r"(/join/)[\w.~-]+")
REMOVED = "[removed]"


def _clean_text(value: str) -> str:
    for whole in (_JWT, _API_KEY):
        value = whole.sub(REMOVED, value)
    for named in (_QUERY_TOKEN, _LINK):
        value = named.sub(rf"\1{REMOVED}", value)
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return {str(k): REMOVED if is_private(str(k)) else _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def clean(value: Any) -> Any:
    """A log line's text or fields without what a private field, a token or a query may hold."""
    if isinstance(value, Mapping):
        return dict(redact(None, "", {str(key): one for key, one in value.items()}))
    return _clean(value)


def is_private(key: str) -> bool:
    """Whether a log field of this name may hold speech or a secret."""
    return key.lower() in PRIVATE_KEYS or key.startswith(_PRIVATE_PREFIX)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Log processor: replace private fields, cut tokens out of any text."""
    for key in list(event):
        event[key] = REMOVED if is_private(key) else _clean(event[key])
    return event


# livekit-agents passes these through `extra=`; anything else it adds may carry speech.
_EXTRA_ALLOWED = frozenset({"job_id", "pid", "room", "worker_id", "agent_name", "attempt"})


def _allowed_extra(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        for key in _EXTRA_ALLOWED & record.__dict__.keys():
            event[key] = record.__dict__[key]
    return event


def configure(service: str, level: str = "info") -> None:
    """Send structlog and the standard library's logging to stdout as JSON lines.

    Fields: ``ts`` (ISO 8601, UTC), ``level``, ``service``, ``event``, then the event's own.

    Args:
        service: the program's name, e.g. ``stt``.
        level: debug, info, warning or error.
    """

    def add_service(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        add_service,
    ]
    renderer: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _allowed_extra],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Below info these two print what was said and whole requests.
    for chatty in (
        "livekit",
        "livekit.agents",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "openai",
    ):
        logging.getLogger(chatty).setLevel(max(logging.INFO, root.level))
    for silent in ("httpx", "httpx2"):
        logging.getLogger(silent).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; ``name`` is the module's."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
