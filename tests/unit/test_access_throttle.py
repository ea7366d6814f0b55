"""How long a stranger waits between two tries at the password, and the owner does not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from starlette.datastructures import Headers

from appliance.store import Store, upgrade
from appliance.store.access import Tries
from services.panel.access.throttle import EXEMPT, Places, wait_s

pytestmark = pytest.mark.unit
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def _wait(
    own_s: Sequence[float], place: str = "192.0.2.7", everywhere_s: Sequence[float] | None = None
) -> float:
    own = [NOW - timedelta(seconds=age) for age in sorted(own_s, reverse=True)]
    others = [NOW - timedelta(seconds=age) for age in sorted(everywhere_s or own_s, reverse=True)]
    return wait_s(Tries(own, others), NOW, place)


def test_five_a_minute_then_each_wait_is_twice_the_one_before() -> None:
    assert _wait([]) == 0
    assert _wait([50, 40, 30, 20]) == 0
    assert _wait([50, 40, 30, 20, 10]) == pytest.approx(10)
    assert _wait([300, 290, 280, 270, 260]) == 0
    assert _wait([300, 290, 280, 270, 260, 1, 0.5]) == pytest.approx(4 - 0.5)
    assert _wait([3000 + age for age in range(8)] + [1]) == pytest.approx(16 - 1)


def test_twenty_an_hour_and_never_for_ever() -> None:
    assert _wait([1000 + 100 * n for n in range(20)]) == pytest.approx(3600 - 2900)
    assert _wait([1.0] * 500) <= 3600


def test_a_hundred_an_hour_from_everywhere_does_not_keep_the_owner_out() -> None:
    storm = [float(n) for n in range(100)]
    assert _wait([], "192.0.2.7", storm) > 0
    for place in ("known:0123", "here:loopback"):
        assert _wait([], place, storm) == 0


def test_a_known_browser_is_known_by_its_seal_alone() -> None:
    places = Places("k" * 32)
    cookie = places.new()
    known = places.of(
        Headers({"cookie": f"earshot-known={cookie}", "x-forwarded-for": "192.0.2.7"})
    )
    assert known.startswith("known:")
    assert len(known) <= 64
    for forged in ("known:1.x", "aaaa." + "0" * 64, cookie + "0", ".", "\udc80.x"):
        headers = Headers(raw=[(b"cookie", f"earshot-known={forged}".encode("utf-8", "replace")),
                               (b"x-forwarded-for", b"192.0.2.7")])  # fmt: skip
        assert places.of(headers) == "192.0.2.7"
    assert Places("other" * 8).of(Headers({"cookie": f"earshot-known={cookie}"})) == "here:local"


@pytest.mark.parametrize(
    ("forwarded", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("10.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "here:loopback"),
        ("127.0.0.1", "here:loopback"),
        ("", "here:local"),
        ("nonsense", "nonsense"),
    ],
)
def test_where_a_try_comes_from(forwarded: str, place: str) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert Places("k").of(Headers(headers)) == place


def test_tries_are_counted_before_they_are_judged_and_outlive_the_program(
    database_url: str,
) -> None:
    upgrade(database_url)
    store = Store(database_url)
    here, there = (partial(wait_s, place=place) for place in ("192.0.2.7", "192.0.2.8"))
    waits = [store.attempts.begin("192.0.2.7", here, EXEMPT) for _ in range(6)]
    assert waits[:5] == [0.0] * 5
    assert 0 < waits[5] <= 60
    store.close()
    again = Store(database_url)
    assert again.attempts.begin("192.0.2.7", here, EXEMPT) > 0
    assert again.attempts.begin("192.0.2.8", there, EXEMPT) == 0
    again.attempts.succeeded("192.0.2.7")
    assert again.attempts.begin("192.0.2.7", here, EXEMPT) == 0
    again.close()
