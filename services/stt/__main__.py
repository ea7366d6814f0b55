"""Starts the ear: ``python -m services.stt``."""

from appliance.settings import seal_environment

seal_environment()

from appliance import logs
from appliance.serving import create_app, serve
from appliance.settings import load_settings
from services.stt.engine import WhisperEngine
from services.stt.routes import create_router

_FORM_OVERHEAD_BYTES = 1 << 20


def main() -> None:
    """Serve on run/stt.sock until told to stop."""
    settings = load_settings()
    logs.configure("stt", settings.log_level)
    engine = WhisperEngine(settings)
    limit = (settings.stt.max_upload_mb << 20) + _FORM_OVERHEAD_BYTES
    app = create_app(engine, create_router(engine, settings), settings, max_body_bytes=limit)
    serve(app, settings.socket("stt"))


if __name__ == "__main__":
    main()
