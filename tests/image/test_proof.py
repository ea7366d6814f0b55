"""The proof of the image: the running box makes room for it and is back afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.box import PROGRAMS
from tests.image.conftest import Docker
from tests.image.living import Life
from tests.recordings import knows_france
from tests.results import note

pytestmark = [pytest.mark.image, pytest.mark.timeout(1500)]
WITHIN_S = 1300


@pytest.fixture(scope="module")
def life(
    docker: Docker, cpu_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Life]:
    """A box that runs."""
    del docker
    box = Life(tmp_path_factory.mktemp("proof"), cpu_image, "earshot-proved")
    try:
        box.up()
        yield box
    finally:
        box.remove()


def left(life: Life) -> str:
    """Containers and networks of a proof."""
    mine = "name=earshot-proved-proof"
    return "".join(
        life.run("docker", *what, "--quiet", "--filter", mine).stdout
        for what in (("ps", "--all"), ("network", "ls"))
    )


def test_nothing_leaves_the_image(life: Life) -> None:
    before = life.container
    command = life.folder / "scripts" / "appliance"
    done = life.run(command, "prove-offline", "--yes", "--json", check=False, timeout_s=WITHIN_S)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    proof = json.loads(done.stdout)
    note(
        "offline proof of the image",
        watched_s=proof["seconds_watched"],
        calls=proof["calls_traced"],
    )
    assert proof["holds"]
    assert proof["attempts"] == []
    assert (proof["kind"], proof["image"]) == ("image", life.image)
    assert proof["digest"] == life.inspect(".Image")
    assert set(PROGRAMS) <= set(proof["programs"])
    assert proof["calls_traced"] > 100
    assert proof["seconds_after_call"] >= 60
    assert "gave way to" in proof["switched"]
    assert proof["pages"] >= 12
    turn = proof["call"]["turns"][0]
    assert knows_france(turn["heard"], turn["answered"])
    assert left(life) == ""
    life.until_ready()
    assert life.container == before
    shown = life.api("GET", "/api/v1/proof")
    assert (shown["date"], shown["digest"]) == (proof["date"], proof["digest"])
    # What the proof chose for itself is not the box's choice.
    assert life.api("GET", "/api/v1/models/switch") is None
    assert life.api("GET", "/api/v1/calls")["calls"] == []


def test_one_packet_makes_it_fail(life: Life) -> None:
    kept = life.api("GET", "/api/v1/proof")
    command = life.folder / "scripts" / "appliance"
    done = life.run(
        command, "prove-offline", "--yes", "--negative-control", check=False, timeout_s=WITHIN_S
    )
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    assert "attempts          1" in done.stdout
    assert "port 9 (not this machine)" in done.stdout
    assert "203.0.113.7 port 9 (UNEXPECTED)" in done.stdout
    assert "problem" not in done.stdout
    assert left(life) == ""
    life.until_ready()
    assert life.api("GET", "/api/v1/proof") == kept
