"""What the owner does during the proof: which model gives way, which pages are read."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.catalogue import Catalogue
from appliance.catalogue.selection import Selection, read_selection, write_selection
from appliance.errors import ApplianceError, NotReady
from appliance.proof import room
from appliance.proof.deeds import choose, read_pages, switch_model
from appliance.proof.preparing import environment
from appliance.settings import Settings
from tests import ggufs

pytestmark = pytest.mark.unit


def model(name: str, task: str = "stt", **more: Any) -> dict[str, Any]:
    """One row of the API's models, installed unless it is said otherwise."""
    row = {"id": name, "task": task, "installed": True, "selected": False, "size": 5}
    return {**row, "licence_to_accept": False, "trouble": "", **more}


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([model("a", selected=True), model("b", size=9), model("c", size=3)], ("stt", "a", "c")),
        ([model("a", selected=True), model("b", installed=False)], None),
        ([model("a", selected=True), model("b", licence_to_accept=True)], None),
        ([model("a", selected=True), model("b", trouble="damaged")], None),
        (
            [model("a", selected=True), model("x", "llm", selected=True), model("y", "llm")],
            ("llm", "x", "y"),
        ),
        ([], None),
    ],
)
def test_the_smallest_usable_model_takes_over(
    models: list[dict[str, Any]], chosen: tuple[str, str, str] | None
) -> None:
    assert choose(models) == chosen


def panel(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(base_url="http://box", transport=httpx.MockTransport(answer))


def test_a_switch_that_is_rolled_back_is_a_failure() -> None:
    ends = ["rolled_back", "committed"]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/models"):
            return httpx.Response(200, json={"models": [model("a", selected=True), model("b")]})
        if request.method == "POST":
            return httpx.Response(202, json={})
        state = {"finished": True, "state": ends[0], "reason": "It was silent."}
        return httpx.Response(200, json=state)

    with panel(answer) as http:
        with pytest.raises(ApplianceError, match="It was silent"):
            switch_model(http)
        ends.pop(0)
        assert switch_model(http) == "a gave way to b"


def test_every_linked_page_is_read_once_and_nothing_is_downloaded() -> None:
    asked: list[str] = []
    pages = {
        "/": '<a href="/calls">x</a><link href="/static/a.css"><div hx-get="/parts/home">',
        "/calls": '<a href="/">x</a><a href="/calls?page=2">y</a><a href="/calls/1#said">z</a>'
        '<a href="/api/v1/doctor/bundle">no</a><a href="//elsewhere/x">no</a><a href="https://y/">',
        "/calls/1": "nothing", "/parts/home": "<p>",
    }  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/static/a.css":
            return httpx.Response(200, text="a {}", headers={"content-type": "text/css"})
        return httpx.Response(200, html=pages[request.url.path])

    with panel(answer) as http:
        assert read_pages(http) == 4
    assert sorted(asked) == sorted([*pages, "/static/a.css"])


def test_a_page_that_fails_fails_the_proof() -> None:
    with (
        panel(lambda _: httpx.Response(500)) as http,
        pytest.raises(ApplianceError, match="page /"),
    ):
        read_pages(http)


def test_the_proofs_box_has_the_owners_models_and_a_choice_of_its_own(tmp_path: Path) -> None:
    owner = Settings(data_dir=tmp_path / "owner", models_dir=tmp_path / "their models")
    for name in ("pulled/pulled.gguf", "dropped.gguf"):
        path = owner.models_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ggufs.make(path)
    write_selection(owner, Selection(current={"llm": "pulled"}))
    (owner.data_dir / "personas").mkdir(parents=True)
    (owner.data_dir / "personas" / "mine.yaml").write_text("name: mine\n")
    owner.settings_file.write_text('persona = "mine"\n')
    folder = tmp_path / "proof"
    folder.mkdir()
    wanted = environment(owner, folder, "10.1.2.3")
    proof = Settings(
        data_dir=Path(wanted["APPLIANCE_DATA_DIR"]), models_dir=Path(wanted["APPLIANCE_MODELS_DIR"])
    )
    assert (proof.data_dir / "personas" / "mine.yaml").is_file()
    assert proof.settings_file.read_text() == 'persona = "mine"\n'
    for name in ("pulled", "dropped"):
        assert Catalogue(proof).installed("llm", name).id == name
    assert read_selection(proof).current == {"llm": "pulled"}
    write_selection(proof, Selection(current={"llm": "dropped"}))
    assert read_selection(owner).current == {"llm": "pulled"}
    assert wanted["APPLIANCE_DATABASE_URL"].startswith(f"sqlite:///{folder}")


def test_a_network_with_a_way_out_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, table6 = tmp_path / "route", tmp_path / "ipv6_route"
    monkeypatch.setattr(room, "_ROUTES", table)
    monkeypatch.setattr(room, "_ROUTES_OF_IPV6", table6)
    head = "Iface\tDestination\tGateway\n"
    table.write_text(f"{head}eth0\t000011AC\t00000000\n")
    room.require_no_way_out()
    nowhere = "0" * 32
    row = f"{nowhere} 00 {nowhere} 00 {nowhere} 00000400 00000001 00000000"
    table6.write_text(f"{row} 00200200 lo\n{nowhere[:-1]}1 80 {nowhere} 00 {nowhere} 0 0 0 1 lo\n")
    room.require_no_way_out()
    table6.write_text(f"{row} 00000003 eth1\n")
    with pytest.raises(NotReady, match="eth1"):
        room.require_no_way_out()
    table.write_text(f"{head}eth0\t00000000\t010011AC\n")
    with pytest.raises(NotReady, match="eth0"):
        room.require_no_way_out()


def test_a_neighbour_is_somebody_else_in_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ipaddress.IPv4Interface("172.18.0.1/16")
    monkeypatch.setattr(room, "_interfaces", lambda: [here])
    monkeypatch.setattr(room, "own_addresses", lambda: {"172.18.0.1", "127.0.0.1"})
    assert room.neighbour() == "172.18.0.2"
    assert room.lan_addresses() == ["172.18.0.1"]
