"""Everything is closed unless the literal lists open it: every route of the app is walked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.panel.access.policy import FORMS, LARGE_BODIES, PUBLIC, SCOPES
from services.panel.access.principal import Scope
from tests.panel_app import SESSIONS, Panel, box_settings, routes, running_panel, stranger

pytestmark = pytest.mark.security
_FOR_PROGRAMS = ("/api/", "/v1/", "/internal/", "/metrics")


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


@pytest.fixture
async def nobody(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is not signed in."""
    async with stranger(panel) as client:
        yield client


def _filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


async def test_no_route_is_open_to_strangers_but_those_on_the_list(
    panel: Panel, nobody: httpx.AsyncClient
) -> None:
    served = routes(panel.app)
    assert len(served) >= 60
    closed = [route for route in served if route not in PUBLIC]
    for method, path in closed:
        answer = await nobody.request(method, _filled(path))
        by_people = method == "GET" and not path.startswith(_FOR_PROGRAMS)
        if by_people or (method, path) in FORMS:
            assert answer.status_code == 303, (method, path)
            assert answer.headers["location"].startswith("/sign-in"), (method, path)
        else:
            assert answer.status_code == 401, (method, path)
            assert answer.json()["error"]["code"] == "not_signed_in"
        head = await nobody.head(_filled(path))
        assert head.status_code in (303, 401), path
    assert panel.store.sessions.list() == []


async def test_an_address_that_there_is_not_is_closed_as_well(nobody: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/nowhere"), ("GET", "/api/v1/nowhere"), ("PUT", SESSIONS), ("GET", "/sign-in/"),
        ("GET", f"{SESSIONS}/"), ("TRACE", SESSIONS), ("GET", "//healthz"), ("GET", "/HEALTHZ"),
        ("GET", "/api/v1/../v1/sessions"), ("POST", "/static/x"), ("GET", "/internal/v1/jobs/x"),
    ):  # fmt: skip
        answer = await nobody.request(method, path)
        assert answer.status_code in (303, 401, 403), (method, path)


async def test_the_lists_name_nothing_that_there_is_not(panel: Panel) -> None:
    served = set(routes(panel.app))
    for listed in (PUBLIC, SCOPES, FORMS, LARGE_BODIES):
        assert sorted(set(listed) - served) == []
    assert not PUBLIC & set(SCOPES)


async def test_the_open_routes_are_these_and_no_others() -> None:
    """A change here is a change of what a stranger may reach: think, then change both."""
    assert {path for method, path in PUBLIC if method == "GET"} == {
        "/healthz", "/readyz", "/static", "/sign-in", "/set-up", "/join/{token}",
        "/api/v1/guest/sessions/{session_id}", "/api/v1/guest/sessions/{session_id}/transcript",
    }  # fmt: skip
    assert {path for method, path in PUBLIC if method != "GET"} == {
        "/sign-in", "/sign-out", "/set-up", "/internal/v1/jobs/{session_id}", "/internal/livekit",
        "/api/v1/guest/sessions", "/api/v1/guest/sessions/queue/{ticket}",
        "/api/v1/guest/sessions/{session_id}/end", "/api/v1/guest/sessions/{session_id}/dispatch",
        "/api/v1/guest/sessions/{session_id}/feedback",
    }  # fmt: skip


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_opens_what_its_scope_names_and_nothing_else(
    panel: Panel, scope: Scope
) -> None:
    made = await panel.http.post("/api/v1/keys", json={"name": "a program", "scopes": [scope]})
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    for method, path in routes(panel.app):
        if (method, path) in PUBLIC:
            continue
        needed = SCOPES.get((method, path), Scope.ADMIN)
        if scope in (needed, Scope.ADMIN):
            # What it opens is tested where it belongs; asking it all here would do it all.
            continue
        async with stranger(panel, **key) as program:
            answer = await program.request(method, _filled(path))
        told = answer.json()["error"]["code"]
        assert (answer.status_code, told) == (403, "scope_missing"), (method, path)


async def test_a_key_lives_and_ends(panel: Panel) -> None:
    wanted = {"name": "Open WebUI", "scopes": ["read"], "expires_in_days": 1}
    made = (await panel.http.post("/api/v1/keys", json=wanted)).json()
    assert re.fullmatch(r"earshot_[0-9a-f]{16}_[\w-]{43}", made["key"])
    async with stranger(panel, Authorization=f"Bearer {made['key']}") as program:
        assert (await program.get(SESSIONS)).status_code == 200
        listed = (await panel.http.get("/api/v1/keys")).json()["keys"]
        assert [one["state"] for one in listed] == ["valid"]
        assert listed[0]["used_at"]
        assert "key" not in listed[0]
        with panel.store.write() as connection:
            connection.exec_driver_sql("UPDATE api_keys SET expires_at = '2020-01-01 00:00:00'")
        assert (await program.get(SESSIONS)).status_code == 401
        assert (await panel.http.get("/api/v1/keys")).json()["keys"][0]["state"] == "expired"
        with panel.store.write() as connection:
            connection.exec_driver_sql("UPDATE api_keys SET expires_at = NULL")
        assert (await program.get(SESSIONS)).status_code == 200
        revoked = await panel.http.post(f"/api/v1/keys/{made['id']}/revoke")
        assert revoked.json()["state"] == "revoked"
        assert (await program.get(SESSIONS)).status_code == 401
    assert (await panel.http.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    assert (await panel.http.get("/api/v1/keys")).json()["keys"] == []
    kept = b"".join(
        path.read_bytes() for path in panel.desk.settings.data_dir.rglob("*") if path.is_file()
    )
    assert made["key"].rpartition("_")[2].encode() not in kept
    noted = [row.action for row in panel.store.audit.list(10)[0]]
    assert noted[:3] == ["key.deleted", "key.revoked", "key.made"]


async def test_a_use_is_noted_once_a_minute(panel: Panel) -> None:
    made = (await panel.http.post("/api/v1/keys", json={"name": "x", "scopes": ["read"]})).json()
    seen = []
    async with stranger(panel, Authorization=f"Bearer {made['key']}") as program:
        for _ in range(3):
            await program.get(SESSIONS)
            seen.append(panel.store.api_keys.all()[0].used_at)
    assert seen[0] is not None
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    "authorization",
    ["Bearer ", "Bearer x", "Bearer earshot_0123456789abcdef_" + "A" * 43, "Basic b3duZXI6eA==",
     "bearer", "", "Bearer \xff\xfe", "Bearer earshot_%_%"],
)  # fmt: skip
async def test_a_wrong_key_is_refused_even_beside_a_good_cookie(
    panel: Panel, authorization: str
) -> None:
    async with stranger(panel) as browser:
        browser.cookies.set("earshot", _sign_in(panel))
        wrong = [(b"Authorization", authorization.encode("latin-1"))]
        answer = await browser.get(SESSIONS, headers=wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await browser.get(SESSIONS)).status_code == 200


async def test_a_key_needs_no_header_and_a_cookie_does(panel: Panel) -> None:
    made = (await panel.http.post("/api/v1/keys", json={"name": "x", "scopes": ["admin"]})).json()
    bare = {"Authorization": f"Bearer {made['key']}"}
    async with stranger(panel, **bare) as program:
        del program.headers["X-Earshot-Client"]
        assert (await program.post(f"{SESSIONS}/nobody/end")).status_code == 404
    async with stranger(panel) as browser:
        browser.cookies.set("earshot", _sign_in(panel))
        assert (await browser.post(f"{SESSIONS}/nobody/end")).status_code == 404
        del browser.headers["X-Earshot-Client"]
        answer = await browser.post(f"{SESSIONS}/nobody/end")
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            403,
            "client_header_missing",
        )


async def test_the_api_describes_what_it_asks_for(panel: Panel) -> None:
    document = (await panel.http.get("/api/v1/openapi.json")).json()
    template = {(method, re.sub(r":\w+}", "}", path)): path for method, path in routes(panel.app)}
    described = {
        (method.upper(), template[method.upper(), path]): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert not [path for _method, path in described if path.startswith("/internal")]
    for route, operation in described.items():
        if route in PUBLIC:
            assert operation["security"] == []
        else:
            assert operation["x-scope"] == SCOPES.get(route, Scope.ADMIN)
            assert {"401", "403"} <= set(operation["responses"])
        assert "422" not in operation["responses"], route
    served = {route for route in routes(panel.app) if route[1].startswith(("/api/", "/v1/"))}
    # A stream without an end, and the document itself.
    unsaid = {("GET", "/api/v1/events"), ("GET", "/api/v1/openapi.json")}
    assert served - set(described) == unsaid


def _sign_in(panel: Panel) -> str:
    from services.panel.access.identity import digest_of

    secret = "B" * 43
    store = panel.store
    if store.owner.password_hash() is None:
        store.owner.claim("not a hash")
    store.sign_ins.remove(digest_of(secret))
    store.sign_ins.add(digest_of(secret), "local", "test", "not a hash")
    return secret
