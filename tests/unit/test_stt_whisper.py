"""A model folder is looked at before the library is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.errors import NotFound
from services.stt.whisper import Whisper

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_at_once(tmp_path: Path, missing: str) -> None:
    for name in {"model.bin", "config.json", "tokenizer.json"} - {missing}:
        (tmp_path / name).write_bytes(b"{}")
    loaded = "faster_whisper" in sys.modules
    with pytest.raises(NotFound, match=missing) as caught:
        Whisper(tmp_path, device="cpu", compute_type="int8", threads=1)
    assert caught.value.code == "model_incomplete"
    assert ("faster_whisper" in sys.modules) is loaded
