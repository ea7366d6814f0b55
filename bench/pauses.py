"""At how many pauses inside a sentence the agent would begin to speak, and how soon after real ends.

    python -m bench.pauses [--clips FOLDER ...] [--made 80] [--out bench/results/pauses.json]
    python -m bench.pauses --record raw.json     only listen: what is known in each pause
    python -m bench.pauses --again raw.json      judge a recording of that kind anew, at once

No box is needed: an stt service of its own, the real detectors, ear and judge in one session a
turn, and a mind and a voice that answer at once. "stock" is what the framework does by itself
with the same ear as a batch transcript and its turn detector.

The first form runs in real time and wants a quiet machine. A recording is made as slowly as need
be, is the same on a busy machine, and is judged as if transcripts took --transcript-s.
"""

from __future__ import annotations

from appliance.settings import PROJECT_DIR, seal_environment, sealed_environment

seal_environment()

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from appliance import logs
from appliance.personas import ENDPOINTING, EndpointingDelays
from bench.machine import machine
from bench.pauses_sounds import SEED, Spoken, collect
from bench.pauses_talk import Seen, Way, hold, listen
from bench.stt_windows import until_ready
from services.agent.turn_end import Evidence, Judge, make_judge
from services.agent.upstream import Upstream

CLIPS = [PROJECT_DIR / "tests" / "data" / "speech", PROJECT_DIR / "tests" / "data" / "questions"]
KINDS = ("recorded", "made")
# A voice is heard as one this long after its first sample.
ONSET_S = 0.1
_LONG_S = 60.0
WAYS: tuple[Way, ...] = ("ours", "stock")
# What the framework takes with its turn detector if nothing is said.
STOCK = EndpointingDelays(0.3, 2.5)

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, nargs="+", default=CLIPS)
    parser.add_argument("--made", type=int, default=80)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--endpointing", choices=sorted(ENDPOINTING), default="balanced")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--again", type=Path)
    parser.add_argument("--transcript-s", type=float, default=0.25)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    logs.configure("bench", "warning")
    judge = make_judge(ENDPOINTING[asked.endpointing])
    if asked.again:
        rows = json.loads(asked.again.read_text(encoding="utf-8"))["turns"]
        print(json.dumps(both(rows, judge, asked.transcript_s), indent=1))
        return
    with stt_service() as socket:
        transport = httpx.HTTPTransport(uds=socket)
        with httpx.Client(transport=transport, base_url="http://stt", timeout=120) as stt:
            spoken = collect(asked.clips, asked.made, asked.seed, stt)
        if asked.record:
            rows = asyncio.run(record(spoken, socket, asked.at_once))
        else:
            rows = asyncio.run(run(spoken, judge, socket, asked.at_once))
    result: dict[str, Any] = {
        "what": "turns with pauses inside sentences, and finished ones",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "endpointing": asked.endpointing,
        "seed": asked.seed,
        "at_once": asked.at_once,
    }
    if asked.record:
        result |= {
            "how": f"calculated from what was known, transcripts taken to last {asked.transcript_s} s",
            **both(rows, judge, asked.transcript_s),
        }
    else:
        result |= {way: summary([row for row in rows if row["way"] == way]) for way in WAYS}
    print(json.dumps(result, indent=1))
    out = asked.record or asked.out
    if out:
        write(out, {**result, "turns": rows})


@contextmanager
def stt_service() -> Iterator[str]:
    """An stt service of our own; its socket."""
    with tempfile.TemporaryDirectory(prefix="earshot-") as folder:
        service = subprocess.Popen(
            [sys.executable, "-m", "services.stt"], cwd=PROJECT_DIR, stdout=subprocess.DEVNULL,
            env={**sealed_environment(), "APPLIANCE_DATA_DIR": folder},
        )  # fmt: skip
        try:
            socket = f"{folder}/run/stt.sock"
            transport = httpx.HTTPTransport(uds=socket)
            with httpx.Client(transport=transport, base_url="http://stt", timeout=60) as client:
                until_ready(client, service)
            yield socket
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(10)


async def run(spoken: list[Spoken], judge: Judge, socket: str, at_once: int) -> list[Row]:
    """Every turn in every way, the ways next to each other in time."""
    seats = asyncio.Semaphore(at_once)

    async def one(turn: Spoken, way: Way) -> Row:
        async with seats:
            seen = await hold(turn, way, judge, lambda: Upstream("http://stt", socket, "bench"))
        print(f"{way:5} {turn.kind:8} {turn.name:32} ended at {seen.ends}", file=sys.stderr)
        return told_of(turn, seen) | {"way": way}

    return list(await asyncio.gather(*(one(turn, way) for turn in spoken for way in WAYS)))


async def record(spoken: list[Spoken], socket: str, at_once: int) -> list[Row]:
    """What is known in each pause of every turn."""
    seats = asyncio.Semaphore(at_once)

    async def one(turn: Spoken) -> Row:
        async with seats:
            seen = await listen(turn, lambda: Upstream("http://stt", socket, "bench"))
        print(f"{turn.kind:8} {turn.name:32} {len(seen.judged)} pauses", file=sys.stderr)
        return told_of(turn, seen)

    return list(await asyncio.gather(*(one(turn) for turn in spoken)))


def told_of(turn: Spoken, seen: Seen) -> Row:
    """A turn without its sound."""
    return {
        "name": turn.name, "kind": turn.kind, "text": turn.text, "pauses": turn.pauses, "end_s": turn.end_s,
        **vars(seen),
    }  # fmt: skip


def both(rows: list[Row], judge: Judge, transcript_s: float) -> dict[str, Any]:
    """Recorded turns as our judge and as the framework's own two delays would end them."""

    def stock(known: Evidence) -> float:
        return STOCK.min_s if known.probability >= known.threshold else STOCK.max_s

    # Ours has been making the transcript since the silence was 0.1 s long.
    ours = [judged_again(row, judge, max(0.0, transcript_s - 0.2)) for row in rows]
    theirs = [judged_again(row, stock, transcript_s) for row in rows]
    return {"ours": summary(ours), "stock": summary(theirs)}


def judged_again(row: Row, judge: Judge, late_s: float) -> Row:
    """A recorded turn as another judge would have ended it, ``late_s`` after all was known."""
    silences = [*row["pauses"], (row["end_s"], row["end_s"] + _LONG_S)]
    ends = []
    for begins, over in silences:
        # The last thing known in this silence decides.
        known = [j for j in row["judged"] if begins < j["at"] < over + ONSET_S]
        if known:
            last = known[-1]
            keys = ("probability", "threshold", "words", "language")
            wait_s = judge(Evidence(**{key: last[key] for key in keys}))
            moment = max(begins + wait_s, last["at"] + late_s)
            if moment < over + ONSET_S:
                ends.append(round(moment, 3))
    return {**row, "ends": ends, "sounds": ends}


def summary(rows: list[Row]) -> dict[str, Any]:
    """What a caller would notice."""
    told: dict[str, Any] = {}
    for kind in KINDS:
        pauses = [(row, pause) for row in rows if row["kind"] == kind for pause in row["pauses"]]
        for what in ("ends", "sounds"):
            told[f"{kind}_{what}"] = sum(
                any(a < moment < b + ONSET_S for moment in row[what]) for row, (a, b) in pauses
            )
        told[f"{kind}_pauses"] = len(pauses)
    delays: dict[str, list[float]] = {}
    for row in rows:
        asked = "questions" if row["text"].endswith("?") else "statements"
        after = [1000 * (at - row["end_s"]) for at in row["ends"] if at > row["end_s"]]
        if after and not row["pauses"]:
            delays.setdefault(asked, []).append(after[0])
        elif after:
            delays.setdefault("after_pauses", []).append(after[0])
    for kind, ms in delays.items():
        if len(ms) > 1:
            p50, p90 = statistics.median(ms), statistics.quantiles(ms, n=10)[-1]
            told[f"{kind}_delay_ms"] = {
                "turns": len(ms), "p50": round(p50), "p90": round(p90),
                "p90_to_p50": round(p90 / p50, 2),
            }  # fmt: skip
    return told


def write(path: Path, what: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
