"""Starts the baseline beside the box: llama-server, the stock worker, and the callers' side of it."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import httpx
import psutil

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.catalogue.entries import Task
from appliance.errors import BadInput, NotReady
from appliance.measuring.sides import Side
from appliance.personas import find_persona
from appliance.running import as_started
from appliance.secrets import livekit_keys
from appliance.settings import PROJECT_DIR, Settings
from appliance.status import tree_bytes
from bench.llm_clients import LLAMA_SERVER
from bench.stock.caller import StockCaller
from bench.stock.config import BUSY, READY, Config

log = logs.get(__name__)

_START_S = 240.0
_STOP_S = 15.0
_LOOK_S = 0.2
_LAST_BYTES = 1 << 14


@asynccontextmanager
async def baseline(settings: Settings, rooms: int, persona: str | None) -> AsyncIterator[Side]:
    """The stock side, as long as the block runs: its programs are started, warmed and ended.

    Raises:
        BadInput: llama-server has not been built.
        NotReady: one of them did not start.
    """
    # Not above: the worker's processes, whose memory is measured, import this module, too.
    from services.stt.device import card_of, choose

    if not LLAMA_SERVER.is_file():
        raise BadInput(
            "no_llama_server", "The baseline needs llama-server, which is not built yet.",
            "Run bench/build_llama_server once; it takes 5 to 10 minutes on two cores.",
        )  # fmt: skip
    settings = as_started(settings)
    catalogue, keys = Catalogue(settings), livekit_keys(settings)
    stt, llm, tts = (catalogue.installed(task, catalogue.selected(task)) for task in get_args(Task))
    llm_port, health_port = _free_port(), _free_port()
    llm_url = f"http://127.0.0.1:{llm_port}"
    choice = choose(settings, stt.files["model"].stat().st_size, card_of)
    config = Config(
        livekit_url=settings.livekit_url, api_key=keys.api_key, api_secret=keys.api_secret,
        whisper=str(stt.folder), device=choice.device, compute_type=choice.compute_type,
        voice=str(tts.files["model"]),
        llm_url=f"{llm_url}/v1", rooms=rooms, health_port=health_port,
        persona=find_persona(persona or settings.persona, settings.persona_dirs),
    )  # fmt: skip
    llama = llama_server(settings, llm.files["model"], rooms, llm_port)
    # For its owner alone: the configuration holds the media server's secret.
    with tempfile.TemporaryDirectory(prefix="earshot-stock-") as name:
        folder = Path(name)
        told = folder / "config.json"
        told.write_text(config.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "bench.stock", str(told)]
        async with (
            _program(llama, folder / "llama-server") as server,
            _program(command, folder / "worker") as worker,
        ):
            await _until(lambda: _answers(f"{llm_url}/health"), server, folder / "llama-server")
            await _until(lambda: _is_ready(folder / "worker"), worker, folder / "worker")

            async def rested() -> None:
                if not await _comes(lambda: _is_ready(folder / "worker"), worker):
                    log.warning("baseline_not_rested")

            yield Side(
                "stock",
                lambda: StockCaller(
                    settings.livekit_url, keys, is_greeted=bool(config.persona.greeting)
                ),
                lambda: {"worker": tree_bytes(worker.pid), "llama-server": tree_bytes(server.pid)},
                lambda: httpx.AsyncClient(base_url=llm_url, trust_env=False),
                rested=rested,
            )


def llama_server(settings: Settings, model: Path, rooms: int, port: int) -> list[str]:
    """The command of a llama-server that is given what the box's own engine has."""
    from services.llm.engine import spare_cores

    threads = str(settings.llm.threads or spare_cores())
    return [
        str(LLAMA_SERVER), "--model", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--parallel", str(rooms),
        "--threads", threads, "--threads-batch", threads,
        # As much for each room as Earshot gives; llama-server divides it.
        "--ctx-size", str(settings.llm.context_tokens * rooms),
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _program(command: list[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=PROJECT_DIR, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a program with all its children."""
    if process.returncode is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    for child in family:
        # Only those that are still who they were.
        if child.is_running():
            child.kill()


async def _until(
    true: Callable[[], Awaitable[bool]], program: asyncio.subprocess.Process, log: Path
) -> None:
    """Wait until a program serves.

    Raises:
        NotReady: it ended, or takes too long.
    """
    if await _comes(true, program):
        return
    kept = Path(tempfile.gettempdir()) / f"earshot-stock-{log.name}.log"
    kept.write_bytes(log.read_bytes()[-_LAST_BYTES:])
    raise NotReady(
        "baseline_not_started", f"The baseline's {log.name} did not start.",
        f"{kept} has its last words.",
    )  # fmt: skip


async def _comes(true: Callable[[], Awaitable[bool]], program: asyncio.subprocess.Process) -> bool:
    """Wait until something is so; False when its program ended, or takes too long."""
    deadline = time.monotonic() + _START_S
    while program.returncode is None and time.monotonic() < deadline:
        if await true():
            return True
        await asyncio.sleep(_LOOK_S)
    return False


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url)).is_success
    except httpx.TransportError:
        return False


async def _is_ready(log: Path) -> bool:
    states = {READY.encode(), BUSY.encode()}
    said = [line for line in log.read_bytes().splitlines() if line in states]
    return said[-1:] == [READY.encode()]
