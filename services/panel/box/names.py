"""What the programs are called on pages, and what happens while one is restarted."""

from __future__ import annotations

_TITLES = {
    "livekit": "Media server",
    "stt": "Speech recognition",
    "llm": "Language model",
    "tts": "Voice",
    "agent": "Call agent",
    "panel": "Control panel",
    "front": "Front door",
    "front-spare": "Front door, spare",
    "watch": "Watch",
    "supervisord": "Supervisor",
    "command": "Command line",
}
_EFFECTS = {
    "livekit": "Open calls fall silent for a few seconds and then go on by themselves.",
    "stt": "Callers are asked for a moment's patience until it hears again.",
    "llm": "Callers are asked for a moment's patience until it answers again.",
    "tts": "Callers are asked for a moment's patience until it speaks again.",
    "agent": "Each open call gets a new agent, which goes on where the talk was.",
    "panel": "This page loses the box for a few seconds. Open calls go on.",
    "front": "This page may lose the box for a moment. Open calls go on.",
    "front-spare": "This page may lose the box for a moment. Open calls go on.",
}


def title_of(program: str) -> str:
    """The program's name for people."""
    return _TITLES.get(program, program)


def effect_of_restart(program: str) -> str:
    """What people notice while it is restarted."""
    return _EFFECTS.get(program, "")
