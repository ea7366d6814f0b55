"""Backups in the panel: the page, the API, the nights, and what a deletion says of them."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.backup import making
from appliance.backup.making import make
from appliance.backup.nights import is_due, last_due, next_due
from appliance.backup.shelf import Shelf
from appliance.personas import Persona
from appliance.settings import Settings
from services.panel.backups.office import LOOK_EVERY_S, Backups
from services.panel.box.troubles import Troubles
from services.panel.retention import retention_sentence
from tests.backups import KeptBox, a_box
from tests.panel_app import Panel, running_panel
from tests.unit.test_purge import Time

pytestmark = pytest.mark.unit
API = "/api/v1/backups"


@pytest.fixture
def box(tmp_path: Path) -> KeptBox:
    """A box with a call."""
    box = a_box(tmp_path / "data")
    box.talk()
    return box


@pytest.fixture
async def panel(box: KeptBox) -> AsyncIterator[Panel]:
    """Its panel."""
    async with running_panel(box.settings) as panel:
        yield panel


async def test_make_list_take_away_delete(panel: Panel, box: KeptBox) -> None:
    made = await panel.http.post(API)
    assert made.status_code == 201, made.text
    listed = (await panel.http.get(API)).json()
    assert listed["backups"] == [made.json()]
    assert listed["recipient"] == box.key.recipient
    name = made.json()["name"]
    file = await panel.http.get(f"{API}/{name}/file")
    assert hashlib.sha256(file.content).hexdigest() == made.json()["sha256"]
    assert file.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert (await panel.http.delete(f"{API}/{name}")).status_code == 204
    assert (await panel.http.get(API)).json()["backups"] == []
    assert (await panel.http.get(f"{API}/{name}/file")).status_code == 404
    actions = [entry.action for entry in panel.store.audit.list()[0]]
    assert actions == ["backup.deleted", "backup.downloaded", "backup.made"]


@pytest.mark.parametrize("name", ["..%2Fsettings.toml", "settings.toml", "earshot-1.age"])
async def test_other_files_are_not_given(panel: Panel, name: str) -> None:
    for method, path in (("GET", f"{API}/{name}/file"), ("DELETE", f"{API}/{name}")):
        assert (await panel.http.request(method, path)).status_code in (400, 404, 405)
    assert (await panel.http.post(f"/backups/{name}/delete")).status_code in (400, 404)


async def test_a_deletion_says_what_backups_hold_and_replacing_ends_it(
    panel: Panel, box: KeptBox
) -> None:
    old = (await panel.http.post(API)).json()["name"]
    page = await panel.http.get("/calls?deleted=1")
    assert "words of deleted calls" not in page.text
    await panel.http.delete("/api/v1/calls?all=true")
    (one,) = (await panel.http.get(API)).json()["backups"]
    assert one["deleted_calls"] == 1
    assert datetime.fromisoformat(one["held_until"]) > datetime.now(UTC) + timedelta(days=12)
    assert (
        "1 backup holds words of deleted calls, until 20"
        in (await panel.http.get("/calls?deleted=1")).text
    )
    assert "Replace them" in (await panel.http.get("/backups")).text
    done = (await panel.http.post(f"{API}/replace")).json()
    assert done["deleted"] == [old]
    assert done["made"]["deleted_calls"] == 0
    assert "Replace them" not in (await panel.http.get("/backups")).text


async def test_the_page_says_what_was_done(panel: Panel, box: KeptBox) -> None:
    assert "There are no backups yet." in (await panel.http.get("/backups")).text
    made = await panel.http.post("/backups/make")
    (one,) = Shelf(box.settings).all()
    assert f"{one.name} is there and reads as it was written." in made.text
    assert "the words of 1 call" in made.text
    one.path.write_bytes(one.path.read_bytes() + b"x")
    checked = await panel.http.post("/backups/check")
    assert f"Damaged: {one.name}." in checked.text
    gone = await panel.http.post(f"/backups/{one.name}/delete")
    assert f"{one.name} is deleted." in gone.text


async def test_a_box_without_a_key_says_how_to_get_one(tmp_path: Path) -> None:
    async with running_panel(Settings(data_dir=tmp_path / "data")) as panel:
        page = (await panel.http.get("/backups")).text
        assert "<code>scripts/appliance backup key</code>" in page
        refused = await panel.http.post(API)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            403,
            "backup_no_recipient",
        )


async def test_a_vanished_disk_is_said(box: KeptBox, tmp_path: Path) -> None:
    async with running_panel(box.with_backup(dir=tmp_path / "stick")) as panel:
        assert "is not there." in (await panel.http.get("/backups")).text
        assert (await panel.http.get(API)).status_code == 409
        assert (await panel.http.post(API)).status_code == 409
        assert (await panel.http.get("/calls?deleted=1")).status_code == 200


async def test_a_mistyped_key_is_not_saved(panel: Panel) -> None:
    answer = await panel.http.post(
        "/api/v1/settings/preview", json={"changes": {"backup.recipient": "age1" + "q" * 58}}
    )
    (problem,) = answer.json()["problems"]
    assert (problem["name"], problem["code"]) == ("backup.recipient", "backup_recipient_invalid")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def test_when_one_is_due() -> None:
    assert last_due(at("2026-11-21 03:00"), 3) == at("2026-11-21 03:00")
    assert last_due(at("2026-11-21 02:59"), 3) == at("2026-11-20 03:00")
    assert next_due(at("2026-11-21 03:00"), 3) == at("2026-11-22 03:00")
    assert next_due(at("2026-11-30 23:00"), 23) == at("2026-12-01 23:00")


def test_a_clock_that_was_wrong_does_not_end_backups(box: KeptBox) -> None:
    made = box.make()
    assert not is_due([made], made.made_at, 3)
    assert is_due([made], made.made_at + timedelta(days=1), 3)
    assert is_due([made], made.made_at - timedelta(days=400), 3)
    assert is_due([], made.made_at, 3)


async def test_one_is_made_every_night_and_after_a_night_when_the_box_was_off(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, store = Time(), box.store()
    time.now = at("2026-11-21 20:00")
    made: list[datetime] = []
    whole = make

    class Clock:
        @staticmethod
        def now(_zone: object) -> datetime:
            return time.now.astimezone(UTC)

    def counted(settings: Settings) -> Any:
        made.append(time.now)
        return whole(settings)

    monkeypatch.setattr(making, "datetime", Clock)
    monkeypatch.setattr("services.panel.backups.office.make", counted)
    day = round(86_400 / LOOK_EVERY_S)
    await time.run(Backups(box.settings, store, lambda: time.now, time.sleep).run(), day)
    assert [one.strftime("%d %H:%M") for one in made] == ["21 20:00", "22 03:00"]
    # A day and a half without power.
    time, made[:] = Time(), []
    time.now = at("2026-11-24 09:30")
    again = Backups(box.settings, store, lambda: time.now, time.sleep)
    await time.run(again.run(), 10)
    assert [one.strftime("%d %H:%M") for one in made] == ["24 09:30"]
    deeds = [(one.actor, one.action) for one in store.audit.list()[0]]
    assert deeds == [("box", "backup.made")] * 3
    store.close()


async def test_a_failure_is_told_once_and_tried_again_hourly(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, store = Time(), box.store()
    tries: list[datetime] = []

    def full(*_given: Any) -> str:
        tries.append(time.now)
        raise OSError(errno.ENOSPC, "No space left on device")

    told: list[str] = []
    monkeypatch.setattr(making, "seal", full)
    monkeypatch.setattr(
        "services.panel.backups.office.log.error", lambda event, **more: told.append(more["why"])
    )
    backups = Backups(box.settings, store, lambda: time.now, time.sleep)
    await time.run(backups.run(), round(3 * 3600 / LOOK_EVERY_S))
    assert len(tries) == 3
    (why,) = told
    assert "no space left on device. Free some space there" in why
    store.close()


async def test_a_failure_that_somebody_made_up_for_is_over(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    time, store = Time(), box.store()
    time.now = datetime.now(UTC)
    told: list[str] = []
    monkeypatch.setattr(
        "services.panel.backups.office.log.error", lambda event, **more: told.append(more["why"])
    )
    backups = Backups(box.settings, store, lambda: time.now, time.sleep)
    with monkeypatch.context() as failing:
        failing.setattr(making, "LEAST_FREE_MB", 10**9)
        await backups.step()
    await backups.make()
    time.now += timedelta(minutes=61)
    monkeypatch.setattr("services.panel.backups.office.is_due", lambda *_: False)
    await backups.step()
    monkeypatch.setattr("services.panel.backups.office.is_due", lambda *_: True)
    monkeypatch.setattr(making, "LEAST_FREE_MB", 10**9)
    await backups.step()
    assert len(told) == 2, "the next night's failure is another one"
    store.close()


def test_home_shows_it_with_its_hint_and_its_page(box: KeptBox) -> None:
    log = box.folder / "logs" / "panel.log"
    line = {
        "event": "backup_failed", "level": "error", "program": "panel",
        "at": datetime.now(UTC).isoformat(),
        "why": "The folder is not there. Plug in or mount its disk.",
    }  # fmt: skip
    log.write_text(json.dumps(line) + "\n")
    store = box.store()
    (trouble,) = Troubles(box.settings, store).latest()
    store.close()
    assert "could not make a backup. The folder is not there. Plug in" in trouble.message
    assert trouble.link == "/backups"


def test_callers_are_told_that_backups_keep_words_longer(box: KeptBox) -> None:
    persona = Persona(name="a", instructions="b", keep_transcript=True)
    assert "for 30 days, longer in the newest 14 sealed backups; the sound is never" in (
        retention_sentence(persona, box.settings)
    )
