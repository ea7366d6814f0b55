"""Keys are made once, kept to the owner, and never weak."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import BadSettings
from appliance.secrets import livekit_keys
from appliance.settings import Settings

pytestmark = pytest.mark.unit


def test_each_box_has_its_own_and_keeps_them(tmp_path: Path) -> None:
    one, other = Settings(data_dir=tmp_path / "1"), Settings(data_dir=tmp_path / "2")
    assert livekit_keys(one) == livekit_keys(one)
    assert set(livekit_keys(one)).isdisjoint(livekit_keys(other))
    for path in one.secrets_dir.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert one.secrets_dir.stat().st_mode & 0o777 == 0o700
    assert len(livekit_keys(one).api_secret) >= 32


def test_programs_that_start_at_once_agree(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: livekit_keys(settings), range(32)))
    assert len(found) == 1
    assert len(list(settings.secrets_dir.iterdir())) == 2


@pytest.mark.parametrize(
    ("key", "secret"),
    [("devkey", "secret"), ("APIx", "short"), ("", "x" * 40), ("devkey", "y" * 40)],
)
def test_weak_keys_are_refused(tmp_path: Path, key: str, secret: str) -> None:
    settings = Settings(data_dir=tmp_path, livekit={"api_key": key, "api_secret": secret})
    with pytest.raises(BadSettings, match="well known"):
        livekit_keys(settings)
