"""``python -m bench.stock FILE``: the stock worker; its configuration is the file that is named."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import asyncio
import logging
import signal
import sys
from pathlib import Path

from bench.stock.agent import make_server
from bench.stock.config import BUSY, READY, Config
from bench.stock.idle import tend

_LOOK_S = 0.2


async def main() -> None:
    """Work until SIGTERM."""
    config = Config.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    server = make_server(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    working = asyncio.create_task(server.run(devmode=False))
    said = ""
    while not working.done() and not stop.is_set():
        state = READY if tend(server, config.rooms) else BUSY
        if state != said:
            print(state, flush=True)
            said = state
        await asyncio.sleep(_LOOK_S)
    if working.done():
        await working
    await server.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
