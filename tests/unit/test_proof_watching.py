"""The watch of the proof: what hangs is told in its report."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.proof import watching

pytestmark = pytest.mark.unit


def test_a_command_that_hangs_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: list[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hangs)
    done = watching._run("status")
    assert (done.returncode, done.stdout) == (124, "")
    with pytest.raises(ApplianceError, match=r"No call could be held\."):
        watching._call("question.flac")
