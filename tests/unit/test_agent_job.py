"""A job's process has everything loaded before its call: nothing is imported in the middle of a turn."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from livekit.agents import llm

from appliance.personas import Persona
from appliance.settings import PROJECT_DIR, Settings
from services.agent.mind import make_mind
from tests.agent_fakes import FakeLlm, serving

pytestmark = pytest.mark.unit


def test_the_first_request_of_a_call_imports_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.test_agent_job", tmp_path],
        cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"heard": "One two.", "imported": []}


async def first_request(data: Path) -> dict[str, object]:
    """Ask a model once, and what was imported for it."""
    settings = Settings(data_dir=data)
    settings.run_dir.mkdir()
    model, context = FakeLlm("One", " two."), llm.ChatContext.empty()
    context.add_message(role="user", content="Count.")
    async with serving(settings.socket("llm"), "/v1/chat/completions", model.handle):
        known = set(sys.modules)
        mind = make_mind(settings, Persona(name="a", instructions="Count."), "session")
        async with mind.chat(chat_ctx=context) as answer:
            heard = [part.delta.content or "" async for part in answer if part.delta]
        await mind.aclose()
    return {"heard": "".join(heard), "imported": sorted(set(sys.modules) - known)}


if __name__ == "__main__":
    # As the server does from which jobs are forked.
    importlib.import_module("services.agent.job")

    sys.stdout.write(json.dumps(asyncio.run(first_request(Path(sys.argv[1])))))
