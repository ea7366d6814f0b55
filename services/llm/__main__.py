"""Starts the language model: ``python -m services.llm``."""

from appliance.settings import seal_environment

seal_environment()

import sys
import threading

from appliance import logs
from appliance.serving import create_app, serve
from appliance.settings import load_settings
from services.llm.placing import PlacedEngine
from services.llm.prompt import STACK_BYTES
from services.llm.routes import create_router

# A thread that wants to go on asks the one that runs; Python's own 5 ms are as long as a step.
_SWITCH_S = 0.0005


def main() -> None:
    """Serve on run/llm.sock until told to stop."""
    settings = load_settings()
    logs.configure("llm", settings.log_level)
    sys.setswitchinterval(_SWITCH_S)
    threading.stack_size(STACK_BYTES)
    engine = PlacedEngine(settings)
    serve(create_app(engine, create_router(engine), settings), settings.socket("llm"))


if __name__ == "__main__":
    main()
