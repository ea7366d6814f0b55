"""Pages of other sites that the owner named: the API under /v1 with a key, and nothing else."""

from __future__ import annotations

import pytest

from tests.panel_app import SESSIONS, Panel, stranger
from tests.unit.test_panel_tokens import SITE, TOKEN, key, panel

pytestmark = pytest.mark.unit
__all__ = ["panel"]


async def test_a_named_site_may_use_the_api_with_a_key(panel: Panel) -> None:
    preflight = {
        "Origin": SITE, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }  # fmt: skip
    bearer = {"Authorization": f"Bearer {await key(panel, 'calls')}"}
    async with stranger(panel) as page:
        asked = await page.options(TOKEN, headers=preflight)
        assert asked.status_code == 204
        assert asked.headers["Access-Control-Allow-Origin"] == SITE
        assert "authorization" in asked.headers["Access-Control-Allow-Headers"]
        answer = await page.post(TOKEN, json={}, headers={"Origin": SITE, **bearer})
        assert answer.status_code == 201
        assert answer.headers["Access-Control-Allow-Origin"] == SITE
        assert "Access-Control-Allow-Credentials" not in {**asked.headers, **answer.headers}
        without = await page.post(TOKEN, json={}, headers={"Origin": SITE})
        assert without.status_code in (401, 403)


@pytest.mark.parametrize(
    ("origin", "path"),
    [
        ("http://localhost:3001", TOKEN),
        ("https://localhost:3000", TOKEN),
        ("null", TOKEN),
        (SITE, SESSIONS),
        (SITE, "/api/v1/keys"),
    ],
)
async def test_no_other_site_and_no_other_part(panel: Panel, origin: str, path: str) -> None:
    bearer = {"Authorization": f"Bearer {await key(panel, 'admin')}"}
    asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with stranger(panel) as page:
        for answer in (
            await page.options(path, headers=asking),
            await page.post(path, json={}, headers={"Origin": origin, **bearer}),
        ):
            assert answer.status_code >= 400
            assert "Access-Control-Allow-Origin" not in answer.headers
