"""A context changed on the page Models counts for the agent once it is restarted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.settings_file import read_file
from appliance.supervision import ProcessInfo
from services.panel.models.hands import BoxHands
from services.panel.settings_page.waiting import WaitingList
from tests.panel_app import box_settings

pytestmark = pytest.mark.unit


class Programs:
    """The service starts anew after the change, the agent runs on."""

    def processes(self) -> dict[str, ProcessInfo]:
        ages = {"llm": -5, "agent": 1000}
        return {name: ProcessInfo(name, "RUNNING", 1, age, "") for name, age in ages.items()}


async def test_the_settings_page_offers_to_restart_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARSHOT_LLM__CONTEXT_TOKENS", raising=False)
    settings = box_settings(tmp_path / "data")
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    nobody: Any = None
    await BoxHands(settings, nobody, nobody, nobody).keep_context(2048)
    assert read_file(settings).values["llm.context_tokens"] == 2048
    programs: Any = Programs()
    waiting = WaitingList(settings, programs).look()
    assert (waiting.settings, waiting.programs) == (["llm.context_tokens"], ["agent"])
