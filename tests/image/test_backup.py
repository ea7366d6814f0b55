"""A backup of one box becomes another one, container to container, by the commands of the docs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.image.conftest import Docker
from tests.image.living import Life
from tests.recordings import DATA

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]

PASSWORD = secrets.token_urlsafe(12)


@pytest.fixture
def boxes(docker: Docker, cpu_image: str, tmp_path: Path) -> Iterator[tuple[Life, Life]]:
    """The box that is lost, and the one in its place; volumes and ports of their own."""
    del docker
    made = []
    for name in ("lost", "new"):
        (tmp_path / name).mkdir()
        made.append(Life(tmp_path / name, cpu_image, f"earshot-backup-{name}"))
    try:
        yield made[0], made[1]
    finally:
        for box in made:
            box.remove()


def post(box: Life, path: str, **form: str) -> httpx.Response:
    """Send a form as the page does."""
    return httpx.post(
        box.url + path, data=form, headers={"Origin": box.url}, timeout=60, trust_env=False
    )


def test_a_new_box_takes_the_place_of_a_lost_one(boxes: tuple[Life, Life]) -> None:
    lost, new = boxes
    lost.up()
    code = lost.logs().partition(f"{lost.url}/set-up?code=")[2].split()[0]
    claimed = post(lost, "/set-up", code=code, password=PASSWORD, again=PASSWORD)
    assert claimed.status_code == 303, claimed.text
    lost.command("call", DATA / "questions" / "france.flac")
    (call,) = lost.api("GET", "/api/v1/calls")["calls"]
    words = lost.heard_in(call["session_id"])
    root = lost.inside("cat", "/data/tls/root.crt")
    key = lost.folder / "key.txt"
    key.write_text(lost.command("backup", "key"))
    lost.command("backup", "create")
    (backup,) = lost.inside("sh", "-c", "ls /data/backups/*.age").split()
    lost.compose("cp", f"earshot:{backup}", ".")
    file = lost.folder / Path(backup).name
    refused = lost.run(
        "scripts/appliance", "backup", "restore", file, "--identity", key, check=False
    )
    assert refused.returncode == 1
    assert "stop it first" in refused.stderr
    lost.down()

    said = new.command("backup", "restore", file, "--identity", key)
    assert "1 call with words." in said
    new.up()
    signed_in = post(new, "/sign-in", password=PASSWORD)
    assert signed_in.status_code == 303, signed_in.text
    assert new.heard_in(call["session_id"]) == words
    assert new.inside("cat", "/data/tls/root.crt") == root
    assert new.inside("stat", "-c", "%a %U", "/data/secrets").split() == ["700", "earshot"]
    new.command("call", DATA / "questions" / "france.flac")
