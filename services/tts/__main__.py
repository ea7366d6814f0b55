"""Starts the voice: ``python -m services.tts``.

This program (the folder services/tts) imports piper-tts and is, like it, licensed under the GNU
General Public License, version 3 or later (SPDX: GPL-3.0-or-later); LICENSE beside this file
has its text. The rest of Earshot speaks to it over a socket and is not part of it.
"""

from appliance.settings import seal_environment

seal_environment()

from appliance import logs
from appliance.serving import create_app, serve
from appliance.settings import load_settings
from services.tts.engine import PiperEngine
from services.tts.routes import create_router


def main() -> None:
    """Serve on run/tts.sock until told to stop."""
    settings = load_settings()
    logs.configure("tts", settings.log_level)
    engine = PiperEngine(settings)
    # A character of JSON takes up to 12 bytes (an escaped surrogate pair).
    limit = settings.tts.max_chars * 12 + (64 << 10)
    app = create_app(engine, create_router(engine, settings), settings, max_body_bytes=limit)
    serve(app, settings.socket("tts"))


if __name__ == "__main__":
    main()
