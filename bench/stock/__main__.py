"""``python -m bench.stock FILE``: the stock worker; its configuration is the file that is named."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import asyncio
import logging
import signal
import sys
from pathlib import Path

from livekit.agents import AgentServer

from bench.stock.agent import make_server
from bench.stock.config import READY, Config

_LOOK_S = 0.2


async def main() -> None:
    """Work until SIGTERM."""
    config = Config.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    server = make_server(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    working = asyncio.create_task(server.run(devmode=False))
    while not working.done() and not stop.is_set():
        if _is_warm(server, config.rooms):
            print(READY, flush=True)
            break
        await asyncio.sleep(_LOOK_S)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        await working
    await server.aclose()


def _is_warm(server: AgentServer, rooms: int) -> bool:
    """Whether a call's process waits for every room; the framework's health page says so too early."""
    if server.id == "unregistered":
        return False
    return server._proc_pool._warmed_proc_queue.qsize() >= rooms  # noqa: SLF001


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
