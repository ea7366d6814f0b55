"""Everybody is told the same length of a call: the link's or the box's, whichever is shorter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.setting_groups import AgentSettings
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, stranger

pytestmark = pytest.mark.unit

LINKS = "/api/v1/links"
GUEST = "/api/v1/guest/sessions"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel whose calls end after two minutes."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=4, max_call_s=120))
    async with running_panel(settings) as panel:
        yield panel


@pytest.mark.parametrize(
    ("minutes", "told_s", "words"),
    [(3, 120, "2 minutes at most"), (None, 120, "2 minutes at most"), (1, 60, "1 minute at most")],
)
async def test_owner_and_guest_are_told_when_the_call_will_end(
    panel: Panel, minutes: int | None, told_s: int, words: str
) -> None:
    link = (await panel.http.post(LINKS, json={"name": "Desk", "minutes": minutes})).json()
    assert link["max_s"] == told_s
    assert words in (await panel.http.get(f"/access/links/{link['id']}")).text
    assert f"{told_s // 60} min<" in (await panel.http.get("/access")).text
    async with stranger(panel) as guest:
        by = {"X-Earshot-Guest": link["url"].rpartition("/")[2]}
        opened = await guest.post(GUEST, json={}, headers=by)
    assert opened.status_code == 201, opened.text
    assert opened.json()["max_s"] == told_s


async def test_a_call_without_a_link_has_the_boxs_length(panel: Panel) -> None:
    opened = await panel.http.post(SESSIONS, json={})
    assert opened.json()["max_s"] == 120


async def test_a_page_for_writing_does_not_ask_to_talk(panel: Panel) -> None:
    for text_only, label in ((True, "Start writing"), (False, "Start talking")):
        link = (await panel.http.post(LINKS, json={"name": "A", "text_only": text_only})).json()
        async with stranger(panel) as guest:
            page = await guest.get("/join/" + link["url"].rpartition("/")[2])
        assert f'<span id="start-label">{label}</span>' in page.text
