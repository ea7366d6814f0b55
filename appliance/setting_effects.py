"""What a change of each setting asks for: which programs read it again only when they start."""

from __future__ import annotations

WHOLE_BOX = ("box",)
"""Rendered into the configuration of several programs when the box starts, or before anything runs."""

# One line per setting, and a test that none is missing.
RESTARTS: dict[str, tuple[str, ...]] = {
    "data_dir": WHOLE_BOX,
    "models_dir": WHOLE_BOX,
    "builtin_models_dir": WHOLE_BOX,
    "programs_dir": WHOLE_BOX,
    "database_url": WHOLE_BOX,
    "log_level": ("stt", "llm", "tts", "agent", "panel"),
    "persona": ("panel",),
    "gpu": WHOLE_BOX,
    # The front door believes a server before it only where there is one.
    "public_url": WHOLE_BOX,
    "front.http_port": WHOLE_BOX,
    "front.lan": WHOLE_BOX,
    "front.https_port": WHOLE_BOX,
    "front.names": WHOLE_BOX,
    "front.certificate": WHOLE_BOX,
    "front.certificate_key": WHOLE_BOX,
    "front.mdns": WHOLE_BOX,
    "front.cors_origins": ("panel",),
    "access.idle_s": ("panel",),
    "access.longest_s": ("panel",),
    "access.keep_calls_days": ("panel",),
    "livekit.url": WHOLE_BOX,
    "livekit.api_key": WHOLE_BOX,
    "livekit.api_secret": WHOLE_BOX,
    "livekit.port": WHOLE_BOX,
    "livekit.tcp_port": WHOLE_BOX,
    "livekit.udp_port": WHOLE_BOX,
    "livekit.node_ip": WHOLE_BOX,
    "livekit.token_ttl_s": ("agent", "panel"),
    "livekit.room_name": ("panel",),
    "agent.health_port": ("agent",),
    "agent.idle_processes": ("agent",),
    "agent.seats": ("llm", "agent", "panel"),
    "agent.speculate_after_s": ("agent",),
    "agent.barge_in_after_s": ("agent",),
    # supervisord's patience with the programs follows from it.
    "agent.drain_s": WHOLE_BOX,
    "agent.max_call_s": ("panel",),
    # Changed here only while another server has the model: its callers name it.
    "stt.model": ("agent", "panel"),
    "stt.device": ("stt",),
    "stt.compute_type": ("stt",),
    "stt.threads": ("stt",),
    "stt.url": WHOLE_BOX,
    "stt.api_key": ("agent", "panel"),
    "stt.max_upload_mb": ("stt", "panel"),
    "stt.max_audio_s": ("stt",),
    "llm.model": ("agent", "panel"),
    "llm.gpu_layers": ("llm",),
    "llm.context_tokens": ("llm", "agent"),
    "llm.threads": ("llm",),
    "llm.backend_sampling": ("llm",),
    "llm.url": WHOLE_BOX,
    "llm.api_key": ("agent", "panel"),
    "llm.no_thinking": ("agent", "panel"),
    "tts.voice": ("agent", "panel"),
    "tts.gain": ("tts",),
    "tts.workers": ("tts",),
    "tts.cache_mb": ("tts",),
    "tts.url": WHOLE_BOX,
    "tts.api_key": ("agent", "panel"),
    "tts.model": ("agent", "panel"),
    "tts.max_chars": ("tts", "panel"),
    "backup.recipient": ("panel",),
    "backup.hour": ("panel",),
    "backup.keep": ("panel",),
    "backup.dir": ("panel",),
}

_ON_THE_BOX = "Where the box keeps its files is changed on the machine itself, before a start."
_ON_MODELS = (
    "Models are chosen on the page Models, which tries them before they serve. The name of a model at "
    "{url} is set here once that address is saved."
)

FIXED: dict[str, str] = {
    "data_dir": _ON_THE_BOX,
    "models_dir": _ON_THE_BOX,
    "builtin_models_dir": _ON_THE_BOX,
    "programs_dir": _ON_THE_BOX,
    "database_url": _ON_THE_BOX,
    "front.certificate": _ON_THE_BOX,
    "front.certificate_key": _ON_THE_BOX,
    "backup.dir": _ON_THE_BOX,
    "stt.model": _ON_MODELS.format(url="stt.url"),
    "llm.model": _ON_MODELS.format(url="llm.url"),
    "tts.voice": _ON_MODELS.format(url="tts.url"),
    "llm.context_tokens": "The context is chosen on the page Models, which tries it before it serves.",
}
"""Shown and not changed by the settings page, with the reason."""

NAMED_ELSEWHERE = {"stt.model": "stt.url", "llm.model": "llm.url", "tts.voice": "tts.url"}
"""Changed by the settings page after all where this address is set: that server's names are its own."""


def restarts(names: list[str]) -> tuple[str, ...]:
    """Programs to restart after these settings have changed, in order; ``("box",)`` if all of it."""
    wanted = {program for name in names for program in RESTARTS[name]}
    if wanted & set(WHOLE_BOX):
        return WHOLE_BOX
    order = ("stt", "llm", "tts", "agent", "panel")
    return tuple(program for program in order if program in wanted)
