"""What was done is written down, and a change of what is written is seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli import build
from appliance.store import Store, upgrade
from appliance.store.audit import Deed
from tests.panel_app import SESSIONS, box_settings, running_panel

pytestmark = pytest.mark.security


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with three rows in its log."""
    upgrade(database_url)
    store = Store(database_url)
    for number in range(3):
        store.audit.append(
            Deed("owner", "192.0.2.7", "key.made", f"key {number}", detail={"n": 1.5})
        )
    yield store
    store.close()


def test_an_untouched_log_is_whole(store: Store) -> None:
    found = store.audit.verify()
    assert (found.rows, found.broken_at) == (3, None)
    rows, total = store.audit.list()
    assert (total, found.last_digest) == (3, rows[0].digest)
    assert [row.before for row in rows] == [rows[1].digest, rows[2].digest, "0" * 64]


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit SET actor = 'somebody' WHERE number = 2", 2),
        ("UPDATE audit SET at = '2020-01-01 00:00:00' WHERE number = 1", 1),
        ("UPDATE audit SET detail = '{}' WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("UPDATE audit SET number = 9 WHERE number = 3", 3),
        ("UPDATE audit SET digest = before WHERE number = 3", 3),
    ],
)
def test_a_change_is_seen(store: Store, change: str, broken_at: int) -> None:
    with store.write() as connection:
        connection.exec_driver_sql(change)
    assert store.audit.verify().broken_at == broken_at


def test_hostile_words_are_kept_as_far_as_they_can_be(store: Store) -> None:
    hostile = "\udc80\0<script>" + "x" * 500
    store.audit.append(
        Deed(hostile, hostile, "key.made", hostile, detail={"name": hostile, "n": 2**70})
    )
    assert store.audit.verify().broken_at is None
    assert store.audit.list()[0][0].object.startswith("?<script>")


def test_many_at_once_make_one_chain(store: Store) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.audit.append(Deed("owner", "", "a.b", str(n))), range(60)))
    assert (store.audit.verify().rows, store.audit.verify().broken_at) == (63, None)


async def test_the_api_reads_it_in_pages_and_checks_it(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        for number in range(7):
            panel.store.audit.append(Deed("owner", "", "key.made", str(number)))
        seen, below = [], ""
        while True:
            page = (await panel.http.get(f"/api/v1/audit?limit=3{below}")).json()
            seen += [row["object"] for row in page["rows"]]
            if page["next"] is None:
                break
            below = f"&below={page['next']}"
        assert seen == [str(n) for n in reversed(range(7))]
        assert (await panel.http.get("/api/v1/audit/verify")).json()["whole"] is True
        with panel.store.write() as connection:
            connection.exec_driver_sql("UPDATE audit SET object = 'x' WHERE number = 5")
        told = (await panel.http.get("/api/v1/audit/verify")).json()
        assert (told["whole"], told["broken_at"]) == (False, 5)
        assert "Row 5 was changed" in (await panel.http.get("/access/audit?verify=1")).text


async def test_the_page_shows_one_kind_at_a_time(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        for action in ("owner.signed_in", "calls.deleted", "call.ended", "key.made"):
            panel.store.audit.append(Deed("owner", "", action, f"on {action}"))
        page = (await panel.http.get("/access/audit?kind=calls")).text
        assert "on calls.deleted" in page
        assert "on call.ended" in page
        assert "on key.made" not in page
        assert "on key.made" in (await panel.http.get("/access/audit?kind=nonsense&below=x")).text


async def test_the_log_tells_who_and_from_where(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        wanted = {"name": "<b>evil</b>", "scopes": ["admin"]}
        made = (await panel.http.post("/api/v1/keys", json=wanted)).json()
        key = {"Authorization": f"Bearer {made['key']}", "X-Forwarded-For": "192.0.2.9"}
        await panel.http.post("/api/v1/keys", json=wanted, headers=key)
        rows, _total = panel.store.audit.list()
        assert [(row.actor, row.address) for row in rows] == [
            ("key <b>evil</b>", "192.0.2.9"), ("command", "local"),
        ]  # fmt: skip
        page = (await panel.http.get("/access/audit")).text
        assert "key &lt;b&gt;evil&lt;/b&gt;" in page
        assert "<b>evil" not in page
        assert (await panel.http.get(SESSIONS)).status_code == 200


def test_the_command_reads_and_checks_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    run = CliRunner()
    good = run.invoke(build(), ["admin", "audit", "--verify"])
    assert (good.exit_code, "All 3 rows" in good.stdout) == (0, True)
    rows = json.loads(run.invoke(build(), ["admin", "audit", "--json"]).stdout)
    assert [row["object"] for row in rows] == ["key 2", "key 1", "key 0"]
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM audit WHERE number = 2")
    bad = run.invoke(build(), ["admin", "audit", "--verify"])
    assert (bad.exit_code, "Row 2" in bad.stdout) == (1, True)
