"""The real Caddy with its door open: who gets in, by which certificate, and what stays outside."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from livekit import api

from appliance.addresses import find_node_ip, has_ipv6_loopback, lan_names
from appliance.rendering import FRONTS, caddyfile, render, write_private
from appliance.secrets import livekit_keys
from appliance.settings import Settings
from appliance.tls.leaves import leaf_for, leaves
from appliance.tls.places import intermediate, root, storage, tls_dir
from appliance.tls.preparing import prepare
from tests import certificates
from tests.front_door import Running, accepts, echo_panel, free_ports, running
from tests.waiting import until

pytestmark = pytest.mark.services

HERE = find_node_ip()


def opened(folder: Path, address: str = HERE, **given: Any) -> Settings:
    """A rendered box with an open door, on ports of its own."""
    http_port, https_port, port, tcp, udp = free_ports(5)
    door = {"http_port": http_port, "https_port": https_port, "lan": True, "names": ["ear.lan"]}
    made = Settings(
        data_dir=folder,
        front={**door, **given.pop("front", {})},
        livekit={"port": port, "tcp_port": tcp, "udp_port": udp, "node_ip": address},
        **given,
    )
    made.run_dir.mkdir(parents=True, exist_ok=True)
    render(made)
    return made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return opened(tmp_path_factory.mktemp("lan data"))


@pytest.fixture(scope="module")
def fronts(settings: Settings) -> Iterator[list[Running]]:
    """Both front doors, on the same ports."""
    with both(settings) as programs:
        yield programs


class both(ExitStack):  # noqa: N801 - reads as the statement it is
    """Both front doors of a box, until each of them has a certificate."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def __enter__(self) -> list[Running]:  # type: ignore[override]
        super().__enter__()
        ready = self._settings.front.https_port
        found = [
            self.enter_context(running(self._settings, name, lambda: accepts(ready)))
            for name in FRONTS
        ]
        until(self._all_hand_out, what="certificates of both")
        return found

    def _all_hand_out(self) -> bool:
        # The kernel chooses whom a connection goes to: so often in a row it was not one of them alone.
        names = lan_names(self._settings) * 12
        return all(handed_out(self._settings, name, reached_at(name)) for name in names)


@pytest.fixture
def panel(settings: Settings) -> Iterator[None]:
    with echo_panel(settings):
        yield


def trusting(settings: Settings) -> ssl.SSLContext:
    """A client that trusts this box, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(root(settings).certificate)
    return context


def handed_out(settings: Settings, name: str, to: str = "") -> bytes:
    """The certificate that a client gets who asks for a name; empty while there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((to or HERE, settings.front.https_port), 5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""
    except (ssl.SSLError, ConnectionError):
        return b""


def der_of(path: Path) -> bytes:
    """The first certificate of a PEM file, as it travels."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def reached_at(name: str) -> str:
    """An address is not sent along: the front door goes by where it was reached."""
    return name if name.startswith("127.") or name == "::1" else HERE


def shake_hands(settings: Settings, name: str, to: str) -> None:
    """As a browser does that trusts the box: the name must be in the certificate."""
    with (
        socket.create_connection((to, settings.front.https_port), 5) as plain,
        trusting(settings).wrap_socket(plain, server_hostname=name),
    ):
        pass


def shakes_hands(settings: Settings, name: str) -> bool:
    """Whether a client that trusts the box is shown a certificate for this name."""
    try:
        shake_hands(settings, name, reached_at(name))
    except (ssl.SSLError, ConnectionError):
        return False
    return True


def ask(settings: Settings, path: str, method: str = "GET", **given: Any) -> httpx.Response:
    """Over https, as another machine."""
    url = f"https://{HERE}:{settings.front.https_port}{path}"
    return httpx.request(method, url, verify=trusting(settings), trust_env=False, **given)


def ask_plainly(settings: Settings, path: str, method: str = "GET", **given: Any) -> httpx.Response:
    """Over http, as another machine."""
    url = f"http://{HERE}:{settings.front.http_port}{path}"
    return httpx.request(method, url, trust_env=False, **given)


@pytest.mark.usefixtures("fronts", "panel")
def test_who_trusts_the_box_gets_in_and_nobody_else(settings: Settings) -> None:
    assert ask(settings, "/").status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://{HERE}:{settings.front.https_port}/", trust_env=False)


@pytest.mark.usefixtures("fronts")
def test_every_name_of_the_box_has_its_certificate(settings: Settings) -> None:
    # Until a name's own certificate is made, an address is answered with another's. Each of the two
    # front doors makes its own, and the kernel chooses which of them is asked.
    names = lan_names(settings) * 12
    until(lambda: all(shakes_hands(settings, name) for name in names), what="every name's own")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"doesn't match|mismatch"):
        shake_hands(settings, "elsewhere.lan", HERE)


@pytest.mark.usefixtures("fronts", "panel")
def test_the_panel_is_told_that_it_was_https_and_who_asked(settings: Settings) -> None:
    forged = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "http"}
    seen = ask(settings, "/api/v1/sessions?limit=3", headers=forged).json()
    assert seen["path"] == "/api/v1/sessions?limit=3"
    headers = seen["headers"]
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Forwarded-For"] == HERE
    assert headers["Host"] == f"{HERE}:{settings.front.https_port}"
    other = ask(settings, "/", headers={"Host": "evil.example"}).json()
    assert other["headers"]["Host"] == "evil.example"  # the panel refuses it, in a sentence


@pytest.mark.usefixtures("fronts", "panel")
def test_what_is_for_the_boxs_own_programs_stays_inside(settings: Settings) -> None:
    for path in ("/internal/livekit", "/internal/v1/jobs/x", "/internal/", "//internal/v1/jobs/x"):
        assert ask(settings, path, "POST").status_code == 404, path
    for path in ("/twirp/livekit.RoomService/ListRooms", "/agent", "/metrics"):
        assert ask(settings, path).json()["path"] == path  # the panel's, which has no such pages
    assert ask(settings, "/api/v1/sessions", "POST", content=b"x" * 2_000_000).status_code == 413


@pytest.mark.usefixtures("fronts", "panel")
def test_plain_http_explains_and_is_nothing_of_the_app(settings: Settings) -> None:
    page = ask_plainly(settings, "/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert f"https://{HERE}:{settings.front.https_port}" in page.text
    for path in (
        "/api/v1/sessions", "/rtc", "/rtc/validate", "/v1/models", "/internal/livekit", "/readyz",
        "/front/healthz", "/join/abc", "/sign-in", "/static/app.js", "/index.html",
    ):  # fmt: skip
        found = ask_plainly(settings, path, follow_redirects=True)
        assert (found.status_code, found.text) == (200, page.text), path
        posted = ask_plainly(settings, path, "POST", content=b"{}")
        assert (posted.status_code, posted.content) == (405, b""), path
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in page.headers  # it would shut the way to this page
    here = httpx.get(f"http://127.0.0.1:{settings.front.http_port}/", trust_env=False)
    assert here.json()["path"] == "/"


@pytest.mark.usefixtures("fronts")
def test_the_authority_is_handed_out_and_never_its_key(settings: Settings) -> None:
    given = ask_plainly(settings, "/door/root.crt")
    assert given.content == root(settings).certificate.read_bytes()
    assert given.headers["content-type"] == "application/x-x509-ca-cert"
    assert "attachment" in given.headers["content-disposition"]
    profile = ask_plainly(settings, "/door/earshot.mobileconfig")
    assert profile.headers["content-type"] == "application/x-apple-aspen-config"
    secrets = [path.read_bytes() for path in tls_dir(settings).rglob("*.key")]
    assert len(secrets) >= 3
    for path in (
        "/door/root.key", "/door/../tls/root.key", "/door/..%2f..%2ftls%2froot.key", "/root.key",
        "/door/intermediate.key", "/door/", "/door/.", "/door/../front.caddyfile",
    ):  # fmt: skip
        url = httpx.URL(f"http://{HERE}:{settings.front.http_port}").copy_with(
            raw_path=path.encode()
        )
        content = httpx.get(url, trust_env=False).content
        assert not any(secret in content for secret in secrets), path
        assert b"PRIVATE KEY" not in content


def test_it_listens_where_it_is_said_to(settings: Settings, fronts: list[Running]) -> None:
    http_port, https_port = settings.front.http_port, settings.front.https_port
    allowed = {("127.0.0.1", http_port), ("0.0.0.0", http_port), ("0.0.0.0", https_port)}  # noqa: S104
    if has_ipv6_loopback():
        allowed |= {("::1", http_port), ("::1", https_port)}
    for program in fronts:
        found = psutil.Process(program.pid).net_connections(kind="inet")
        listens = [one for one in found if one.status == psutil.CONN_LISTEN]
        assert {(one.laddr.ip, one.laddr.port) for one in listens} == allowed
        assert not [one for one in found if one.type == socket.SOCK_DGRAM]


async def test_a_client_that_trusts_the_box_calls_over_wss(
    settings: Settings, fronts: list[Running]
) -> None:
    keys = livekit_keys(settings)
    grants = api.VideoGrants(room_join=True, room="lobby")
    made = api.AccessToken(keys.api_key, keys.api_secret).with_identity("phone").with_grants(grants)
    url = f"wss://{HERE}:{settings.front.https_port}/rtc"
    with running(settings, "livekit", lambda: accepts(settings.livekit.port)):
        client = api.LiveKitAPI(settings.livekit_http_url, keys.api_key, keys.api_secret)
        async with aiohttp.ClientSession() as session:
            try:
                await client.room.create_room(api.CreateRoomRequest(name="lobby"))
                url += f"?access_token={made.to_jwt()}&protocol=15"
                async with session.ws_connect(url, ssl=trusting(settings)) as line:
                    first = await line.receive(10)
                    assert first.type == aiohttp.WSMsgType.BINARY
                    assert b"lobby" in first.data
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await session.ws_connect(url)
            finally:
                await client.aclose()


def test_both_front_doors_share_what_they_hand_out(
    settings: Settings, fronts: list[Running]
) -> None:
    until(lambda: len(list(leaves(settings))) == len(prepare(settings).names), what="every leaf")
    kept = leaf_for(settings, HERE)
    assert kept is not None
    assert kept.not_valid_after_utc - kept.not_valid_before_utc <= timedelta(days=90, minutes=5)
    assert handed_out(settings, HERE) == kept.public_bytes(Encoding.DER)
    assert storage(settings).is_relative_to(settings.data_dir)


def kept_since(settings: Settings, days: int) -> bytes:
    """A certificate of 90 days as Caddy keeps it, made so long ago."""
    folder = storage(settings) / "certificates" / "local" / HERE
    pair = certificates.write(
        folder, [HERE], intermediate(settings), called=HERE,
        begins=timedelta(days=-days), ends=timedelta(days=90 - days),
    )  # fmt: skip
    (folder / f"{HERE}.json").write_text(json.dumps({"sans": [HERE], "issuer_data": None}))
    return der_of(pair.certificate)


def test_the_front_door_renews_by_itself_before_the_end(tmp_path: Path) -> None:
    settings = opened(tmp_path)
    young = kept_since(settings, 50)
    with both(settings):
        assert handed_out(settings, HERE) == young
    old = kept_since(settings, 70)
    render(settings)
    with both(settings):
        until(lambda: handed_out(settings, HERE) not in (b"", old), 30, "a new certificate")
        shake_hands(settings, HERE, HERE)


def test_what_ended_or_is_anothers_is_renewed_at_the_next_start(tmp_path: Path) -> None:
    settings = opened(tmp_path)
    before = kept_since(settings, 91)
    render(settings)
    with both(settings):
        shake_hands(settings, HERE, HERE)
        kept = handed_out(settings, HERE)
        assert kept not in (b"", before)
    with both(settings):
        assert handed_out(settings, HERE) == kept
    moved = settings.model_copy(
        update={"livekit": settings.livekit.model_copy(update={"node_ip": "192.168.77.7"})}
    )
    render(moved)
    assert leaf_for(moved, HERE) is None
    with both(moved):
        # Behind a port mapping no name is sent, and the address is not one of the machine's own.
        shake_hands(moved, "192.168.77.7", HERE)


def test_the_owners_certificate_is_handed_out_to_everybody(tmp_path: Path) -> None:
    pair = certificates.write(tmp_path / "own", ["*.clinic.example"])
    settings = opened(
        tmp_path / "data",
        front={
            "names": ["ear.clinic.example"],
            "certificate": pair.certificate,
            "certificate_key": pair.key,
        },
    )
    with both(settings) as programs, echo_panel(settings):
        given = der_of(pair.certificate)
        for name in ("ear.clinic.example", "elsewhere.lan", HERE):
            assert handed_out(settings, name) == given, name
        context = ssl.create_default_context(cafile=str(pair.certificate))
        url = f"https://{HERE}:{settings.front.https_port}/"
        with httpx.Client(verify=context, trust_env=False) as client:
            named = {"sni_hostname": "ear.clinic.example"}
            answer = client.get(url, headers={"Host": "ear.clinic.example"}, extensions=named)
        assert answer.json()["headers"]["X-Forwarded-Proto"] == "https"
        assert ask_plainly(settings, "/door/root.crt").status_code == 404
        for program in programs:
            assert "obtain" not in program.log.read_text()
    assert not tls_dir(settings).exists() or not list(tls_dir(settings).rglob("*.crt"))


def test_a_server_before_the_box_is_believed_on_this_machine_alone(tmp_path: Path) -> None:
    settings = opened(tmp_path, public_url="https://box.example")
    said = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Host": "box.example"}
    with both(settings), echo_panel(settings):
        here = f"http://127.0.0.1:{settings.front.http_port}/"
        believed = httpx.get(here, trust_env=False, headers=said).json()["headers"]
        assert believed["X-Forwarded-For"] == "203.0.113.7"
        from_outside = ask(settings, "/", headers=said).json()["headers"]
        assert from_outside["X-Forwarded-For"] == HERE
        nearby = f"https://127.0.0.1:{settings.front.https_port}/"
        answer = httpx.get(nearby, verify=trusting(settings), trust_env=False, headers=said)
        assert answer.json()["headers"]["X-Forwarded-For"] == "127.0.0.1"


def test_a_slow_phone_may_take_its_time_and_a_silent_one_may_not(tmp_path: Path) -> None:
    servers = adapted(opened(tmp_path))
    by_port = {server["listen"][0].rpartition(":")[2]: server for server in servers.values()}
    assert len(by_port) < len(servers)  # plain http is one for this machine, one for the others
    for server in servers.values():
        secure = "tls_connection_policies" in server
        assert ("read_timeout" in server) is ("127.0.0.1" in server["listen"][0])
        if secure:
            assert server["read_idle_timeout"] == 60 * 10**9
            assert server["read_min_rate"] == 16384
        assert server["read_header_timeout"] == 10 * 10**9
        assert server["protocols"] == ["h1"]


def adapted(settings: Settings) -> dict[str, Any]:
    """The servers of the configuration as Caddy understands it."""
    path = settings.run_dir / "looked-at.caddyfile"
    write_private(path, caddyfile(settings, "front", prepare(settings)))
    caddy = str(settings.programs_dir / "caddy")
    told = subprocess.run(
        [caddy, "adapt", "--adapter", "caddyfile", "--config", str(path)],
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(told.stdout)["apps"]["http"]["servers"]
    return found


def test_nothing_is_asked_for_outside(tmp_path: Path) -> None:
    settings = opened(tmp_path)
    text = (settings.run_dir / "front.caddyfile").read_text()
    assert "ocsp_stapling off" in text
    assert text.count("issuer internal") == 1
