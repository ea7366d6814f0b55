"""The container from `docker compose up` to `down`: calls, restarts, kills, and what it may not do."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.calling import Caller
from appliance.headset import Clip
from tests.image.conftest import ROOT, Docker
from tests.image.living import Life
from tests.recordings import DATA
from tests.results import note

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]

QUESTION = DATA / "questions" / "france.flac"
NEXT = DATA / "questions" / "week.flac"
KILLS = 20
_TCP, _UDP = 1, 2
_WAITS = (psutil.CONN_LISTEN, psutil.CONN_NONE)


@pytest.fixture(scope="module")
def life(
    docker: Docker, cpu_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Life]:
    """A box that runs; every test leaves it running."""
    del docker
    box = Life(tmp_path_factory.mktemp("life"), cpu_image, "earshot-life")
    try:
        began = time.monotonic()
        box.up()
        note("image: up to healthy", seconds=round(time.monotonic() - began, 1))
        yield box
    finally:
        box.remove()


def answered(said: str) -> dict[str, Any]:
    """The report of `call --json`; its one question was heard and answered."""
    report: dict[str, Any] = json.loads(said)
    (turn,) = report["turns"]
    assert "capital" in turn["heard"].lower(), report
    assert turn["answered"], report
    assert turn["ms"]["at_ear"], report
    assert report["state"] == "completed"
    note("image: a call", ms=turn["ms"])
    return report


# ---- what it says and may ----------------------------------------------------------------------


def test_its_log_says_how_it_went_and_where_it_is(life: Life) -> None:
    said = life.logs()
    for program in ("livekit", "stt", "llm", "tts", "agent", "panel", "front", "front-spare"):
        assert f"{program} is ready after" in said
    assert "Earshot is ready." in said
    code = said.partition(f"{life.url}/set-up?code=")[2].split()[0]
    assert f"{life.address}/set-up?code={code}" in said
    assert ipaddress.ip_address(life.address.split("/")[2].split(":")[0]).is_private


def test_it_can_write_its_volumes_and_nothing_else(life: Life) -> None:
    for place in ("/", "/opt/earshot", "/usr/local/bin", "/etc", "/run"):
        done = life.run("docker", "exec", life.container, "touch", f"{place}/x", check=False)
        assert "Read-only file system" in done.stderr
    for place in ("/data", "/models", "/tmp"):
        life.inside("sh", "-c", f"touch {place}/x && rm {place}/x")


def test_it_is_nobody_with_no_capability_and_no_way_up(life: Life) -> None:
    top = life.run("docker", "top", life.container, "-eo", "pid,uid,args").stdout.splitlines()[1:]
    pids = [int(line.split()[0]) for line in top]
    assert len(pids) > 10
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(line.split(":", 1) for line in status.splitlines())
        assert found["Uid"].split() == ["10001"] * 4, status
        assert found["Gid"].split() == ["10001"] * 4, status
        assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0, status
        assert found["NoNewPrivs"].strip() == "1", status
    assert life.inside("sh", "-c", "ulimit -c").strip() == "0"


def test_nothing_listens_that_is_not_on_the_list(life: Life) -> None:
    ports = life.ports
    here = {"127.0.0.1", "::1"}
    allowed: dict[tuple[int, int], set[str] | None] = {  # None: any address
        (_TCP, life.http_port): None, (_TCP, life.https_port): None,
        (_TCP, ports["livekit"]): here, (_TCP, ports["health"]): here,
        (_TCP, ports["tcp"]): None, (_UDP, ports["udp"]): None,
    }  # fmt: skip
    top = life.run("docker", "top", life.container, "-eo", "pid").stdout.split()[1:]
    ours = {int(pid) for pid in top}
    seen = set()
    for one in psutil.net_connections(kind="inet"):
        if one.pid not in ours or one.raddr or not one.laddr or one.status not in _WAITS:
            continue
        key = (int(one.type), one.laddr.port)
        assert key in allowed, f"{one} listens"
        addresses = allowed[key]
        assert addresses is None or one.laddr.ip in addresses, f"{one} listens"
        seen.add(key)
    assert seen == set(allowed)


# ---- calls -------------------------------------------------------------------------------------


def test_a_call_by_the_command_on_the_host(life: Life, tmp_path: Path) -> None:
    reply = tmp_path / "reply.wav"
    answered(life.command("call", QUESTION, "--json", "--out", reply))
    assert reply.read_bytes()[:4] == b"RIFF"


def test_a_call_from_the_host_by_https(life: Life) -> None:
    key, root = life.key_and_root()
    done = life.run(
        ROOT / "scripts" / "appliance", "call", "--url", life.address, "--api-key-file", key,
        "--ca", root, "--json", QUESTION,
    )  # fmt: skip
    answered(done.stdout)
    # Without the box's authority it is a stranger.
    done = life.run(
        ROOT / "scripts" / "appliance", "call", "--url", life.address, "--api-key-file", key,
        QUESTION, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "not trusted" in done.stderr


def test_a_call_from_another_container(life: Life, docker: Docker) -> None:
    # A key that its owner alone may read: whoever is inside has to be that owner.
    for path in life.key_and_root():
        path.chmod(0o600)
    user = os.getuid()
    done = docker(
        "run", "--rm", "--read-only", "--cap-drop", "ALL", "--user", f"{user}:{os.getgid()}",
        "--tmpfs", "/tmp", "--tmpfs", f"/data:uid={user}",
        "-v", f"{life.folder}:/given:ro", "-v", f"{QUESTION}:/question.flac:ro", life.image,
        "appliance", "call", "--url", life.address, "--api-key-file", "/given/key",
        "--ca", "/given/root.crt", "--json", "/question.flac",
    )  # fmt: skip
    answered(done.stdout)


# ---- stops and starts --------------------------------------------------------------------------


def test_down_and_up_keep_everything(life: Life) -> None:
    session = answered(life.command("call", QUESTION, "--json"))["session_id"]
    root, token = life.inside("cat", "/data/tls/root.crt"), life.token
    life.down()
    assert life.container == ""
    life.up()
    assert len(life.heard_in(session)) == 1
    assert (life.inside("cat", "/data/tls/root.crt"), life.token) == (root, token)
    answered(life.command("call", QUESTION, "--json"))


def stopped(life: Life) -> tuple[float, set[str]]:
    """Stop it: the seconds that took, and what its health check said meanwhile."""
    began, said = time.monotonic(), set[str]()
    with subprocess.Popen(
        ["docker", "stop", "--time", "45", life.container], stdout=subprocess.DEVNULL
    ) as stop:
        while stop.poll() is None:
            done = life.run(
                "docker", "exec", life.container, "/opt/earshot/docker/healthcheck", check=False
            )
            said.add(done.stdout.strip())
    return round(time.monotonic() - began, 1), said


async def test_a_stop_tells_two_callers_and_loses_no_turn(life: Life) -> None:
    token = await asyncio.to_thread(lambda: life.token)
    callers = [Caller(life.url, token=token) for _ in range(2)]
    try:
        for caller in callers:
            await caller.join()
        await asyncio.gather(*(caller.greeting() for caller in callers))
        await asyncio.gather(*(caller.ask(Clip.read(QUESTION)) for caller in callers))
        assert all(caller.turns for caller in callers)
        seconds, said = await asyncio.to_thread(stopped, life)
        for caller in callers:
            assert "box_stops" in [one["code"] for one in caller.notices]
            assert caller.disconnected.is_set()
        turns = {
            caller.session_id: [turn["user_text"] for turn in caller.turns if turn["user_text"]]
            for caller in callers
        }
    finally:
        for caller in callers:
            await caller.leave()
    assert "It is being stopped." in said
    # Docker would have killed it after this time, and the code would be 137.
    assert life.inspect(".State.ExitCode") == 0
    note("image: stop with two live calls", seconds=seconds)
    await asyncio.to_thread(life.up)
    for session_id, words in turns.items():
        assert await asyncio.to_thread(life.heard_in, session_id) == words
        found = life.api("GET", f"/api/v1/sessions/{session_id}")
        assert (found["state"], found["reason"]) == ("completed", "the box was stopped")


async def test_kills_in_the_middle_of_talks_lose_no_acknowledged_turn(life: Life) -> None:
    known: dict[str, list[str]] = {}
    token = await asyncio.to_thread(lambda: life.token)
    for number in range(KILLS):
        caller = Caller(life.url, token=token)
        try:
            await caller.join()
            await caller.greeting()
            await caller.ask(Clip.read(QUESTION))
            talking = asyncio.create_task(caller.ask(Clip.read(NEXT)))
            # Each time at another place of the second turn, but not after it.
            await asyncio.wait({talking}, timeout=0.3 * number)
            await asyncio.to_thread(lambda: life.run("docker", "kill", life.container))
            known[caller.session_id] = [turn["user_text"] for turn in caller.turns]
            talking.cancel()
        finally:
            await caller.leave()
        await asyncio.to_thread(life.compose, "up", "--detach", "--no-build")
        await asyncio.to_thread(life.until_ready)
    assert len(known) == KILLS
    lost = {}
    for session_id, words in known.items():
        stored = await asyncio.to_thread(life.heard_in, session_id)
        missing = [text for text in words if text and text not in stored]
        if missing:
            lost[session_id] = missing
    turns = sum(len(words) for words in known.values())
    note("image: kills while talking", kills=KILLS, turns=turns, lost=len(lost))
    assert lost == {}
    assert turns >= KILLS
    sound = life.inside(
        "/opt/earshot/.venv/bin/python", "-c",
        "import sqlite3; print(*sqlite3.connect('/data/appliance.db').execute('pragma integrity_check').fetchone())",
    )  # fmt: skip
    assert sound == "ok\n"


# ---- without what it needs ---------------------------------------------------------------------


def test_a_gpu_that_is_required_and_missing_leaves_the_panel_up(
    docker: Docker, cpu_image: str, tmp_path: Path
) -> None:
    del docker
    box = Life(tmp_path, cpu_image, "earshot-nogpu")
    box.set(APPLIANCE_GPU="required")
    try:
        box.compose("up", "--detach", "--no-build")
        box.until(lambda: "In the network:" in box.logs(), "up")
        said = box.logs()
        assert said.count("This machine has no NVIDIA GPU.") == 2
        assert "No model is started; the panel is." in said
        why = box.api("GET", "/api/v1/box")["why"]
        assert sum("no NVIDIA GPU" in one for one in why) == 1
        assert box.inspect(".RestartCount") == 0
        assert box.inspect(".State.Running")
    finally:
        box.remove()


def test_dockers_own_network_carries_a_call(
    docker: Docker, cpu_image: str, tmp_path: Path, life: Life
) -> None:
    del docker
    box = Life(tmp_path, cpu_image, "earshot-bridge", "docker-compose.bridge.yml")
    address = life.address.split("/")[2].split(":")[0]
    box.set(APPLIANCE_LIVEKIT__NODE_IP=address)
    try:
        box.up()
        assert box.address == f"https://{address}:{box.https_port}"
        answered(box.command("call", QUESTION, "--json"))
        root = tmp_path / "root.crt"
        root.write_text(box.inside("cat", "/data/tls/root.crt"))
        key = tmp_path / "key"
        key.write_text(box.token)
        done = box.run(
            ROOT / "scripts" / "appliance", "call", "--url", box.address, "--api-key-file", key,
            "--ca", root, "--json", QUESTION,
        )  # fmt: skip
        answered(done.stdout)
    finally:
        box.remove()
