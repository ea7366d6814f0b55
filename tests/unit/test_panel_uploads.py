"""Own model files on their way in: looked at first, never a path, nothing left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appliance.settings import Settings
from tests import ggufs
from tests.models_fakes import API, FakeSource, left_aside, models_panel, row, send, work
from tests.panel_app import Panel, box_settings

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return box_settings(tmp_path / "data")


@pytest_asyncio.fixture
async def panel(settings: Settings) -> AsyncIterator[Panel]:
    async with models_panel(settings, FakeSource()) as running:
        yield running


async def test_own_files_appear_once_they_were_looked_at(
    panel: Panel, settings: Settings, tmp_path: Path
) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    sent = await send(panel, "mine", "gguf", good)
    assert (sent.status_code, sent.json()["missing"]) == (200, []), sent.text
    mine = await row(panel, "mine")
    assert (mine["installed"], mine["own"], mine["licence_to_accept"]) == (True, True, False)
    assert (settings.models_path / "mine" / "mine.gguf").stat().st_mode & 0o777 == 0o600
    await panel.http.post(f"{API}/mine/verify")
    assert "digest that it should" in (await work(panel, "mine"))["message"]
    again = await send(panel, "mine", "gguf", good)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "model_exists")
    assert (await send(panel, "whisper-base", "gguf", good)).status_code == 409
    assert left_aside(settings) == []


async def test_a_voice_comes_in_two_parts(panel: Panel, settings: Settings) -> None:
    folder = settings.builtin_models_dir / "en_US-joe-medium"
    model = (folder / "en_US-joe-medium.onnx").read_bytes()
    config = (folder / "en_US-joe-medium.onnx.json").read_bytes()
    first = await send(panel, "joe2", "onnx.json", config)
    assert first.json()["missing"] == ["onnx"]
    second = await send(panel, "joe2", "onnx", model)
    assert (second.status_code, second.json()["missing"]) == (200, []), second.text
    joe = await row(panel, "joe2")
    assert (joe["task"], joe["licence"], joe["licence_to_accept"]) == ("tts", "unknown", True)


async def test_a_large_file_comes_in_pieces(
    panel: Panel, settings: Settings, tmp_path: Path
) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    half = len(good) // 2

    async def piece(at: int, data: bytes) -> Any:
        path = f"{API}/uploads/pieces/gguf?at={at}&total={len(good)}"
        return await panel.http.put(path, content=data)

    assert (await piece(half, good[half:])).json()["error"]["code"] == "upload_out_of_step"
    assert (await piece(0, good[:half])).json()["missing"] == ["gguf"]
    assert (await piece(half + 1, good[half:])).status_code == 409
    assert (await piece(half, good)).status_code == 413
    assert (await piece(half, good[half:])).json()["missing"] == []
    assert (settings.models_path / "pieces" / "pieces.gguf").read_bytes() == good
    assert left_aside(settings) == []


@pytest.mark.parametrize(
    ("part", "body", "code"),
    [
        ("gguf", b"MZ\x90\x00" + bytes(4000), "wrong_kind_of_file"),
        ("gguf", b"", "wrong_kind_of_file"),
        ("gguf", b"GGUF" + b"\xff" * 4000, "model_damaged"),
        ("onnx", b"GGUF", "wrong_kind_of_file"),
        ("onnx.json", b"", "wrong_kind_of_file"),
        ("onnx.json", b" " * (5 << 20), "upload_too_large"),
    ],
)
async def test_what_is_no_model_leaves_nothing_behind(
    part: str, body: bytes, code: str, panel: Panel, settings: Settings
) -> None:
    answer = await send(panel, "bad", part, body)
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"]["code"] == code
    assert left_aside(settings) == []
    assert not (settings.models_path / "bad").exists()


async def test_half_a_file_is_refused(panel: Panel, settings: Settings, tmp_path: Path) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    answer = await send(panel, "half", "gguf", good[: len(good) // 2])
    assert answer.json()["error"]["code"] == "model_truncated"
    assert left_aside(settings) == []


@pytest.mark.parametrize(
    "path",
    ["../evil/gguf", "%2e%2e%2fevil/gguf", ".hidden/gguf", "a%00b/gguf", "evil/exe", "a/b/gguf"],
)
async def test_a_name_is_never_a_path(path: str, panel: Panel, settings: Settings) -> None:
    answer = await panel.http.put(f"{API}/uploads/{path}", content=b"GGUF")
    assert 400 <= answer.status_code < 500, answer.text
    assert not list(settings.data_dir.parent.rglob("*evil*"))
