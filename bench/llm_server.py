"""The language model's engine against llama-server, built from the same llama.cpp.

    bench/build_llama_server
    .venv/bin/python -m bench.llm_server [--rounds 3] [--threads 1 2] [--out bench/results/llm_server.json]

One of the two is in memory at a time; they take turns round by round, with the same model, threads
and batch sizes, and only their ratio holds on another machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.catalogue import Catalogue
from appliance.settings import PROJECT_DIR, load_settings, seal_environment
from bench.llm_clients import TEXTS, Ours, Stock, streams, turns
from bench.machine import machine
from services.llm.vocabulary import MOST_TOP_K

MODEL = "smollm2-135m-instruct"
STREAMS = (1, 4, 8)
SAID = 64
TURNS = 5
ROOMS = 4
GREEDY = 32
CLEAR_MARGIN = 0.1


def main() -> None:
    seal_environment()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    # Also when it is ended from outside, the server that is being asked goes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    file = Catalogue(load_settings()).installed("llm", MODEL).files["model"]
    result: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"), "model": MODEL,
        "rounds": asked.rounds, "machine": machine(), "threads": {},
    }  # fmt: skip
    # What was measured is kept also when the rest is broken off.
    result["greedy"] = greedy(file)
    _keep(result, asked.out)
    print("greedy:", {key: found for key, found in result["greedy"].items() if key != "differ"})
    for threads in asked.threads:
        raw: list[dict[str, Any]] = []
        for number in range(asked.rounds):
            raw.append(one_round(file, threads, number))
            result["threads"][str(threads)] = {"ratios": ratios(raw), "raw": raw}
            result["machine_after"] = machine()
            _keep(result, asked.out)
        print(f"{threads} thread(s):", json.dumps(ratios(raw), indent=1))


def _keep(result: dict[str, Any], out: Path | None) -> None:
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n")


def one_round(file: Path, threads: int, number: int) -> dict[str, Any]:
    """Both sides once; who is first changes from round to round."""
    places = {"in_process": 0, "in_graph": MOST_TOP_K}
    found: dict[str, Any] = {
        name: in_process(file, threads, places[name])
        for name in sorted(places, reverse=bool(number % 2))
    }
    sides = {"ours": Ours, "stock": Stock}
    for name in sorted(sides, reverse=bool(number % 2)):
        with sides[name](file, threads, slots=max(STREAMS)) as side:
            found[name] = {
                "streams": {str(n): streams(side, n, SAID) for n in STREAMS},
                "ttft_ms_by_turn": turns(side, ROOMS, TURNS),
            }
    return found


def in_process(file: Path, threads: int, likeliest: int) -> dict[str, Any]:
    """The engine without a socket, in a process of its own; ``likeliest``: chosen in the graph."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.llm_engine", *map(str, (file, threads, SAID, likeliest))],
        cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratios(raw: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds: ours divided by llama-server's."""

    def middle(pick: Any) -> float:
        return float(statistics.median(pick(one) for one in raw))

    def ratio(ours: Any, stock: Any) -> float:
        return round(middle(ours) / middle(stock), 3)

    found: dict[str, Any] = {}
    for n in map(str, STREAMS):
        stock = lambda one, n=n: one["stock"]["streams"][n]["own_tokens_per_s"]  # noqa: E731
        found[f"in_process_{n}"] = ratio(
            lambda one, n=n: one["in_process"]["streams"][n]["tokens_per_s"], stock
        )
        found[f"socket_{n}"] = ratio(
            lambda one, n=n: one["ours"]["streams"][n]["tokens_per_s"],
            lambda one, n=n: one["stock"]["streams"][n]["tokens_per_s"],
        )
        found[f"in_graph_to_numpy_{n}"] = ratio(
            lambda one, n=n: one["in_graph"]["streams"][n]["tokens_per_s"],
            lambda one, n=n: one["in_process"]["streams"][n]["tokens_per_s"],
        )
        for place, name in (("in_process", ""), ("in_graph", "_in_graph")):
            for cost in ("python_us_per_token", "python_clock_us_per_token"):
                found[f"{cost}{name}_{n}"] = round(
                    middle(lambda one, n=n, p=place, c=cost: one[p]["streams"][n][c]), 1
                )
    found["least_python_us_per_token"] = round(
        middle(lambda one: one["in_process"]["least_python_us_per_token"]), 1
    )
    for turn in range(TURNS):
        found[f"ttft_turn_{turn + 1}"] = ratio(
            lambda one, turn=turn: one["ours"]["ttft_ms_by_turn"][turn],
            lambda one, turn=turn: one["stock"]["ttft_ms_by_turn"][turn],
        )
    found["cancelled_within_ms"] = round(
        max(one["in_process"]["cancelled_within_ms"] for one in raw), 2
    )
    found["step_ms"] = round(middle(lambda one: one["in_process"]["step_ms"]), 2)
    return found


def greedy(file: Path) -> dict[str, Any]:
    """Whether both say the same at temperature 0; where not, how close the two words were."""
    texts: dict[str, list[dict[str, Any]]] = {}
    for name, kind in (("ours", Ours), ("stock", Stock)):
        with kind(file, 1, slots=1) as side:
            texts[name] = [side.greedy(text, GREEDY) for text in TEXTS]
    differ = []
    for text, ours, stock in zip(TEXTS, texts["ours"], texts["stock"], strict=True):
        if ours["text"] == stock["text"] and ours["prompt_tokens"] == stock["prompt_tokens"]:
            continue
        differ.append(
            {"prompt": text, "ours": ours["text"], "stock": stock["text"],
             "prompt_tokens": [ours["prompt_tokens"], stock["prompt_tokens"]],
             "margin": first_margin(ours["text"], stock["words"])}
        )  # fmt: skip
    margins = [one["margin"] for one in differ]
    return {
        "prompts": len(TEXTS), "tokens": GREEDY, "same": len(TEXTS) - len(differ),
        "all_others_too_close_to_tell": all(m is not None and m < CLEAR_MARGIN for m in margins),
        "differ": differ,
    }  # fmt: skip


def first_margin(ours: str, words: list[dict[str, Any]]) -> float | None:
    """How far apart the two likeliest words were, in logits, where the texts part."""
    said = ""
    for word in words:
        said += word["text"]
        if not ours.startswith(said):
            return float(word["margin"])
    return None


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"took {time.monotonic() - began:.0f} s")
