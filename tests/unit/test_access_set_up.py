"""The one-time link and what may be a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import BadInput
from appliance.set_up import (
    forget_set_up_links,
    is_set_up_code,
    link_while_unclaimed,
    new_set_up_link,
)
from appliance.settings import Settings
from appliance.store import open_store
from services.panel.access.passwords import Passwords, check_password

pytestmark = pytest.mark.unit


def _code(link: str) -> str:
    return link.partition("/set-up?code=")[2]


def test_a_link_is_printed_until_a_password_is_set(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    first, second = link_while_unclaimed(settings), link_while_unclaimed(settings)
    assert first.startswith("http://localhost:8080/set-up?code=")
    # A start of the box does not make the terminal of the start before a liar.
    assert is_set_up_code(settings, _code(first))
    assert is_set_up_code(settings, _code(second))
    store = open_store(settings)
    store.owner.claim("hash")
    store.close()
    assert link_while_unclaimed(settings) == ""


def test_only_the_latest_links_are_kept_and_none_when_forgotten(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    codes = [_code(new_set_up_link(settings)) for _ in range(11)]
    assert [is_set_up_code(settings, code) for code in codes] == [False] + [True] * 10
    assert not is_set_up_code(settings, "")
    kept = (settings.secrets_dir / "set_up_codes").read_text()
    assert not any(code in kept for code in codes)
    forget_set_up_links(settings)
    assert not is_set_up_code(settings, codes[-1])


@pytest.mark.parametrize(
    "password",
    [
        "four words at random",
        "Grün ist die Heide 7",
        "correct-horse-battery",
        "x7#Lq9!vT2@z",
    ],
)
def test_a_good_password_is_taken(password: str) -> None:
    check_password(password)


@pytest.mark.parametrize("password", ["", "eleven-byte", "äöüäö", "a" * 1025])
def test_its_length_is_counted_in_bytes(password: str) -> None:
    with pytest.raises(BadInput):
        check_password(password)


async def test_no_password_fits_where_none_is_set() -> None:
    passwords = Passwords()
    kept = await passwords.hash("four words at random")
    assert await passwords.fits(kept, "four words at random")
    assert not await passwords.fits(kept, "four words at Random")
    assert not await passwords.fits(None, "four words at random")
    assert not await passwords.fits("no hash", "four words at random")
    assert not await passwords.fits(kept, "x" * 2000)
    assert not passwords.is_outdated(kept)
    assert passwords.is_outdated(kept.replace("t=3", "t=2"))
