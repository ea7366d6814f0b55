"""``python -m services.panel``: serves the panel on its unix socket."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator

import uvicorn

from appliance import logs
from appliance.errors import ApplianceError
from appliance.serving.server import bind
from appliance.settings import load_settings
from services.panel.app import create_app
from services.panel.events import Bus


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, bus: Bus) -> None:
        super().__init__(config)
        self._bus = bus

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again after a clean stop; the exit status is to be 0.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        # Open pages would keep their streams until the deadline.
        self._bus.close()


def main() -> int:
    """Serve until SIGTERM, then stop within two seconds: calls go on without the panel."""
    settings = load_settings()
    logs.configure("panel", settings.log_level)
    path = settings.socket("panel")
    listener = bind(path)
    app = create_app(settings)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, log_level="warning",
        lifespan="on", server_header=False, timeout_graceful_shutdown=1, timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 << 10,
    )  # fmt: skip
    server = _Server(config, app.state.bus)
    server.run(sockets=[listener])
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    # A program that could not start says so with its exit status.
    return 0 if server.started else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ApplianceError as error:
        logs.get("panel").error("panel_cannot_start", code=error.code, why=str(error))
        sys.exit(error.exit_code)
