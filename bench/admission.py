"""Many callers for few seats, through the real front door: who gets in, and how soon the rest is told.

`.venv/bin/python bench/admission.py` starts a panel, a media server and a front door of its own.
A percentile lies between its two neighbours in a straight line, as in `appliance bench`. The results kept up to November
2026 (`p95`, `longest`) are by statistics.quantiles, whose p99 of few values can lie beyond the longest.
"""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import argparse
import asyncio
import json
import random
import socket
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate, count, takewhile
from pathlib import Path
from typing import Any

import aiohttp

from appliance.measuring.figures import summary
from appliance.settings import PROJECT_DIR
from appliance.store import Session, Store
from bench.machine import machine
from tests.panel_box import SESSIONS, Box, running_box

TOKEN = "/v1/livekit/token"  # noqa: S105 - an address
SEATS = 4
_LONGEST_CALL_S = 0.5
_PATIENCE_S = 30.0


@dataclass
class Storm:
    """What became of every request."""

    answers: Counter[str] = field(default_factory=Counter)
    busy_ms: list[float] = field(default_factory=list)
    admitted_ms: list[float] = field(default_factory=list)
    most_at_once: int = 0
    """Calls that overlapped, by the store's own times."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The figures, in milliseconds."""
        return {
            "answers": dict(self.answers),
            "most_at_once": self.most_at_once,
            "busy_ms": summary(round(ms, 1) for ms in self.busy_ms),
            "admitted_ms": summary(round(ms, 1) for ms in self.admitted_ms),
            "seconds": round(self.seconds, 1),
        }


async def storm(box: Box, requests: int, at_once: int, *, admitted: int = 0) -> Storm:
    """Ask so many times, so many at once; whoever gets in leaves again after a moment.

    Args:
        box: a running one.
        requests: how often is asked at least.
        at_once: how many ask at the same time.
        admitted: asking goes on until so many got in, a minute at most.
    """
    seen = Storm()
    until = time.monotonic() + 60
    left = takewhile(
        lambda number: (
            number < requests or (seen.answers["201"] < admitted and time.monotonic() < until)
        ),
        count(),
    )
    dice = random.Random(7)
    headers = box.auth
    limit = aiohttp.TCPConnector(limit=2 * at_once)
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    async with aiohttp.ClientSession(
        box.settings.front_url, headers=headers, connector=limit, timeout=timeout, trust_env=False
    ) as http:
        leaving: set[asyncio.Task[None]] = set()

        async def leave(session_id: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            async with http.post(f"{SESSIONS}/{session_id}/end"):
                pass

        async def ask() -> None:
            for number in left:
                began = time.monotonic()
                try:
                    async with http.post((SESSIONS, TOKEN)[number % 2], json={}) as answer:
                        body = await answer.json()
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    seen.answers[type(error).__name__] += 1
                    continue
                took_ms = (time.monotonic() - began) * 1000
                code = body.get("error", {}).get("code", "")
                seen.answers[f"{answer.status} {code}".strip()] += 1
                if answer.status == 201:
                    seen.admitted_ms.append(took_ms)
                    after_s = dice.random() * _LONGEST_CALL_S
                    task = asyncio.create_task(leave(body["session_id"], after_s))
                    leaving.add(task)
                    task.add_done_callback(leaving.discard)
                else:
                    seen.busy_ms.append(took_ms)

        began = time.monotonic()
        await asyncio.gather(*(ask() for _ in range(at_once)))
        seen.seconds = time.monotonic() - began
        await asyncio.gather(*leaving)
    store = Store(box.settings.store_url)
    try:
        seen.most_at_once = _most_at_once(store.sessions.list(requests))
    finally:
        store.close()
    return seen


def _most_at_once(sessions: list[Session]) -> int:
    """The most calls that overlapped. At one and the same moment an end comes before a beginning."""
    moments = [(session.created_at, 1) for session in sessions]
    moments += [(session.ended_at, -1) for session in sessions if session.ended_at]
    return max(accumulate(step for _at, step in sorted(moments)), default=0)


def seated(data_dir: Path, seats: int) -> Path:
    """A data folder whose box has so many seats."""
    data_dir.mkdir(mode=0o700, parents=True)
    (data_dir / "settings.toml").write_text(f"[agent]\nseats = {seats}\n", encoding="utf-8")
    return data_dir


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def main(requests: int, at_once: int) -> dict[str, Any]:
    """One storm on a box of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with running_box(seated(Path(folder) / "data", SEATS), _free_port) as box:
            await box.start_front()
            seen = await storm(box, requests, at_once)
    return {"requests": requests, "at_once": at_once, "seats": SEATS, **seen.as_json()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=100)
    options = parser.parse_args()
    result = {"machine": machine(), **asyncio.run(main(options.requests, options.at_once))}
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = PROJECT_DIR / "bench" / "results" / f"admission-{stamp}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    print(f"wrote {path.relative_to(PROJECT_DIR)}")
