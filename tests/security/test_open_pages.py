"""A page that is left open keeps nobody signed in, however often it asks by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from appliance.store.models import SignInRow
from tests.panel_app import box_settings, running_panel
from tests.security.owner import a_browser, set_up

pytestmark = pytest.mark.security

BACKGROUND = {"X-Earshot-Background": "1"}


async def test_what_a_page_asks_by_itself_is_no_use_of_the_sign_in(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel, a_browser(panel) as browser:
        await set_up(panel, browser)
        idle_s = panel.desk.settings.access.idle_s
        long_ago = datetime.now(UTC) - timedelta(seconds=idle_s / 2)
        with panel.store.write() as connection:
            connection.execute(update(SignInRow).values(seen_at=long_ago))

        def seen() -> datetime:
            return panel.store.sign_ins.all(idle_s, 10 * idle_s)[0].seen_at

        assert (await browser.get("/parts/home", headers=BACKGROUND)).status_code == 200
        stream = {"Accept": "text/event-stream"}
        assert (await browser.get("/api/v1/events?topics=x", headers=stream)).status_code == 400
        assert seen() == long_ago
        assert (await browser.get("/")).status_code == 200
        assert seen() > long_ago


async def test_an_open_page_is_told_when_the_sign_in_is_over(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel, a_browser(panel) as browser:
        await set_up(panel, browser)
        browser.cookies.clear()
        part = await browser.get("/parts/home", headers=BACKGROUND)
        assert (part.status_code, part.headers["location"][:8]) == (303, "/sign-in")
        assert (await browser.get("/api/v1/events?topics=box")).status_code == 401
