"""The real Caddy and the real livekit-server on the rendered files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from livekit import api

from appliance.rendering import caddyfile, render, write_private
from appliance.secrets import livekit_keys
from appliance.settings import Settings
from tests.front_door import CUT, accepts, echo_panel, free_ports, running
from tests.waiting import until

pytestmark = pytest.mark.services


@dataclass
class Front:
    settings: Settings
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.front.http_port}"

    def get(self, path: str, **given: Any) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return httpx.post(self.url + path, trust_env=False, **given)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    http_port, port, tcp, udp = free_ports(4)
    made = Settings(
        data_dir=tmp_path_factory.mktemp("front data"),
        front={"http_port": http_port},
        livekit={"port": port, "tcp_port": tcp, "udp_port": udp},
    )
    made.run_dir.mkdir()
    render(made)
    return made


@pytest.fixture(scope="module")
def front(settings: Settings) -> Iterator[Front]:
    with running(settings, "front", lambda: accepts(settings.front.http_port)) as program:
        yield Front(settings, program.log)


@pytest.fixture
def panel(settings: Settings) -> Iterator[None]:
    with echo_panel(settings):
        yield


@pytest.fixture(scope="module")
def livekit(settings: Settings) -> Iterator[None]:
    with running(settings, "livekit", lambda: accepts(settings.livekit.port)):
        yield


def test_answers_for_itself_while_nothing_else_runs(front: Front) -> None:
    assert front.get("/front/healthz").status_code == 200


def test_says_in_a_sentence_that_the_panel_is_not_there(front: Front) -> None:
    page = front.get("/")
    assert page.status_code == 503
    assert page.headers["retry-after"] == "2"
    assert page.headers["content-type"].startswith("text/html")
    assert "Earshot is starting" in page.text
    answer = front.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "not_ready"


@pytest.mark.usefixtures("panel")
def test_the_panel_gets_the_page_the_api_and_the_webhook_alone(front: Front) -> None:
    seen = front.get("/api/v1/sessions?limit=3").json()
    assert seen["path"] == "/api/v1/sessions?limit=3"
    assert seen["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert seen["headers"]["Host"] == f"127.0.0.1:{front.settings.front.http_port}"
    assert front.post("/internal/livekit", content=b"{}").status_code == 200
    for hidden in (
        "/internal/v1/jobs/x",
        "/internal/",
        "/internal/livekit/x",
        "//internal/v1/jobs/x",
    ):
        assert front.post(hidden).status_code == 404, hidden


@pytest.mark.usefixtures("panel")
def test_a_caller_cannot_hide_that_it_came_through_the_front_door(front: Front) -> None:
    seen = front.get("/", headers={"X-Forwarded-For": "10.0.0.1"}).json()
    assert "127.0.0.1" in seen["headers"]["X-Forwarded-For"]
    assert "10.0.0.1" not in seen["headers"]["X-Forwarded-For"]


@pytest.mark.usefixtures("panel")
def test_a_server_with_a_certificate_before_it_says_who_asks(settings: Settings) -> None:
    (port,) = free_ports(1)
    door = settings.front.model_copy(update={"http_port": port})
    said = settings.model_copy(update={"public_url": "https://box.example", "front": door})
    write_private(settings.run_dir / "front-spare.caddyfile", caddyfile(said, "front-spare"))

    def asked(path: str, **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{port}{path}"
        return httpx.get(url, trust_env=False, headers={"Host": "box.example", **headers})

    with running(said, "front-spare", lambda: accepts(port)):
        for forwarded, seen in (
            ("203.0.113.7", "203.0.113.7"),
            # The server added the last one; what stands before it the asker wrote.
            ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, 127.0.0.1", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("nonsense", "127.0.0.1"),
        ):
            given = asked("/", **{"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})
            headers = given.json()["headers"]
            assert (headers["X-Forwarded-For"], headers["Host"]) == (seen, "box.example")
            assert headers["X-Forwarded-Proto"] == "https"
        assert asked("/").json()["headers"]["X-Forwarded-For"] == "127.0.0.1"
        assert asked("/internal/livekit").status_code == 200
        assert asked("/internal/livekit", **{"X-Forwarded-For": "203.0.113.7"}).status_code == 404


@pytest.mark.usefixtures("panel")
def test_a_large_body_is_refused(front: Front) -> None:
    assert front.post("/api/v1/sessions", content=b"x" * 2_000_000).status_code == 413


def test_livekits_other_doors_are_shut(front: Front, livekit: None) -> None:
    for path in ("/twirp/livekit.RoomService/ListRooms", "/agent", "/metrics"):
        assert front.get(path).status_code == 503, path  # the panel's, which is not there


@pytest.mark.usefixtures("panel")
def test_a_token_in_an_address_is_not_logged(front: Front) -> None:
    canary = "eyJcanary"
    front.get(f"/rtc?access_token={canary}")
    with pytest.raises(httpx.RemoteProtocolError):
        front.get(f"{CUT}?access_token={canary}")
    until(
        lambda: "incomplete response" in front.log.read_text(), 5, "the line about the second one"
    )
    assert canary not in front.log.read_text()


async def test_livekit_takes_the_rendered_file_and_hands_out_no_public_host(
    front: Front, livekit: None
) -> None:
    keys = livekit_keys(front.settings)
    token = (
        api.AccessToken(keys.api_key, keys.api_secret)
        .with_identity("tester")
        .with_grants(api.VideoGrants(room_join=True, room="none"))
        .to_jwt()
    )
    assert jwt.decode(token, keys.api_secret, algorithms=["HS256"])["sub"] == "tester"
    # auto_create is off: a token alone makes no room.
    answer = front.get(f"/rtc/validate?access_token={token}")
    assert answer.status_code == 404
    assert "room" in answer.text
    client = api.LiveKitAPI(front.settings.livekit_http_url, keys.api_key, keys.api_secret)
    try:
        await client.room.create_room(api.CreateRoomRequest(name="none"))
    finally:
        await client.aclose()
    assert front.get(f"/rtc/validate?access_token={token}").status_code == 200
