"""The page Backups: made, checked, replaced after a deletion, taken away, deleted."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from appliance.backup.shelf import Shelf
from appliance.set_up import new_set_up_link
from appliance.setting_groups import FrontSettings
from tests.backups import KeptBox, a_box
from tests.browser.chromium import Cookies, visit
from tests.panel_box import Box

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@dataclass
class Kept:
    """A panel with its front door, and what it keeps."""

    box: KeptBox
    url: str
    cookies: Cookies


@pytest.fixture
async def kept(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Kept]:
    """A box with two calls; neither models nor a media server run."""
    kept = a_box(tmp_path / "data")
    front = FrontSettings(http_port=free_port())
    kept.settings = kept.settings.model_copy(update={"front": front})
    for _ in range(2):
        kept.talk()
    store = kept.store()
    store.owner.forget()
    store.close()
    programs = Box(kept.settings)
    try:
        await programs.start_panel()
        await programs.start_front()
        url, password = kept.settings.front_url, secrets.token_urlsafe(12)
        code = new_set_up_link(kept.settings).partition("code=")[2]
        form = {"code": code, "password": password, "again": password}
        async with httpx.AsyncClient(headers={"Origin": url}, timeout=30, trust_env=False) as http:
            answer = await http.post(f"{url}/set-up", data=form)
        assert answer.status_code == 303, answer.text
        cookies = [{"name": k, "value": v, "url": url} for k, v in answer.cookies.items()]
        yield Kept(kept, url, cookies)
    finally:
        await programs.close()


def test_from_the_first_backup_to_the_last(kept: Kept) -> None:
    with visit(kept.url, path="/backups", cookies=kept.cookies) as visited:
        page = visited.page
        visited.until(lambda: "The next one is made on" in visited.text("main"), 20, "the plan")
        page.click("text=Make a backup now")
        visited.until(lambda: "reads as it was written" in visited.text("main"), 30, "a backup")
        assert "the words of 2 calls" in visited.text("#backups")
        (made,) = Shelf(kept.box.settings).all()
        with page.expect_download() as download:
            page.click("text=Download")
        taken = Path(download.value.path()).read_bytes()
        assert (
            hashlib.sha256(taken).hexdigest() == hashlib.sha256(made.path.read_bytes()).hexdigest()
        )
        store = kept.box.store()
        store.calls.delete_ended()
        store.close()
        visited.go("/calls?deleted=2")
        page.click("text=Replace them")
        visited.until(lambda: page.url.endswith("/backups"), 10, "the page Backups")
        assert "1 backup holds words of deleted calls" in visited.text("main")
        visited.look("backups-held")
        page.click("text=Replace them")
        assert "delete the one with words of deleted calls?" in visited.text("#confirm")
        page.click("#confirm-yes")
        visited.until(lambda: "1 backup is deleted" in visited.text("main"), 30, "a new backup")
        assert "Words of deleted calls" not in visited.text("main")
        page.click("text=Check them all")
        visited.until(lambda: "is as it was written" in visited.text("main"), 30, "the check")
        page.click("#backups .danger")
        page.click("#confirm-yes")
        visited.until(lambda: "There are no backups yet" in visited.text("main"), 10, "none left")
        visited.assert_clean()
