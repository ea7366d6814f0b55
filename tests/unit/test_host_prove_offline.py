"""The proof of the image, as a machine with Docker runs it: a stand-in for docker says what was asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from appliance.proof.proving import DEADLINE_S
from appliance.settings import PROJECT_DIR
from tests.waiting import until

pytestmark = pytest.mark.unit

SCRIPT = PROJECT_DIR / "scripts" / "host" / "prove-offline"
REPORT = json.dumps({"date": "2026-11-21T08:00:00+00:00", "version": "1", "holds": True})
# Each call is a line of $LOG; files beside it decide how it goes.
_DOCKER = """#!/usr/bin/env bash
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/log"
take() { cat "$here/$1" 2>/dev/null || printf '%s' "$2"; }
case "$*" in
  "compose ps --all"*) take box cafe01 ;;
  "compose ps --status running"*) take running cafe01 ;;
  "inspect --format {{.Image}}"*) echo sha256:ab12 ;;
  "inspect --format {{.Config.Image}}"*) echo earshot:9 ;;
  "inspect --format {{.Config.User}}"*) echo 10001:10001 ;;
  "inspect --format {{range .Config.Env}}"*)
    printf '%s\\n' PATH=/bin APPLIANCE_GPU=off APPLIANCE_DATABASE_URL=postgresql://u:secret@h/d ;;
  "inspect --format {{range .HostConfig.Ulimits"*) echo "core=0:0 nofile=1024:2048 " ;;
  "inspect --format {{range .HostConfig.DeviceRequests}}"*) take gpus "" ;;
  "run --rm --network none"*)
    case "$*" in *SYS_PTRACE*) exit "$(take traced_with 0)" ;; *) exit "$(take traced 0)" ;; esac ;;
  *sleep*infinity) ;;
  *"appliance.proof inside"*) while [ "$1" != --env-file ]; do shift; done; cp "$2" "$here/env" ;;
  "wait"*) if [ -e "$here/slow" ]; then touch "$here/waiting"; exec sleep 60; fi; echo 0 ;;
  "logs"*) take report ""; echo "the last words" >&2 ;;
  "run --rm --interactive"*) cat >"$here/kept"; exit "$(take verdict 0)" ;;
esac
"""


class Docker:
    """The stand-in, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(_DOCKER)
        (folder / "docker").chmod(0o755)
        self.let("report", REPORT)
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def let(self, name: str, text: str) -> None:
        """Have it so."""
        (self.folder / name).write_text(text)

    def prove(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [SCRIPT, *arguments], env=self.environment, text=True, capture_output=True,
            check=False, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        """What docker was asked for, but for questions."""
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in lines if not line.startswith(("inspect", "compose ps"))]

    @property
    def proof(self) -> str:
        """How the box of the proof was started."""
        (found,) = (line for line in self.asked if "appliance.proof inside" in line)
        return found

    @property
    def steps(self) -> list[str]:
        """The same in two words each."""
        return [" ".join(line.split()[:2]) for line in self.asked]


WHOLE = [
    "run --rm", "compose stop", "network create", "run --detach", "run --rm", "run --detach",
    "wait", "logs", "run --rm", "rm --force", "network rm", "compose start",
]  # fmt: skip


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """A machine on which a box runs."""
    return Docker(tmp_path)


def steps(docker: Docker) -> list[str]:
    """As ``docker.steps``, without the name of this run's container."""
    return [step.split(" earshot-proof")[0] for step in docker.steps]


def test_the_box_is_stopped_proved_and_started_again(docker: Docker) -> None:
    done = docker.prove("--yes")
    assert done.returncode == 0, done.stderr
    assert steps(docker) == WHOLE
    (network,) = (line for line in docker.asked if line.startswith("network create"))
    assert "--internal" in network
    run = docker.proof
    for word in (
        "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges", "--user 10001:10001",
        "--ulimit core=0:0 --ulimit nofile=1024:2048", "--volumes-from cafe01:ro", "sha256:ab12 -P -m appliance.proof inside /proof",
        "/proof:size=512m,mode=0700,uid=10001,gid=10001",
    ):  # fmt: skip
        assert word in run
    for word in ("SYS_PTRACE", "--gpus", "privileged ", "unconfined"):
        assert word not in run
    (alone,) = (line for line in docker.asked if line.endswith("appliance.proof alone"))
    namespace = f"--network container:{network.split()[-1]}-net "
    assert namespace in alone
    assert namespace in run
    assert "NET_ADMIN" in alone
    assert "NET_ADMIN" not in run
    assert (docker.folder / "env").read_text() == "APPLIANCE_GPU=off\n"
    (kept,) = (line for line in docker.asked if line.startswith("run --rm --interactive"))
    assert kept.endswith("appliance.proof keep earshot:9 sha256:ab12")
    assert (docker.folder / "kept").read_text() == REPORT


@pytest.mark.parametrize(("verdict", "report", "code"), [("1", REPORT, 1), ("0", "", 1)])
def test_whatever_comes_of_it_the_box_runs_again(
    docker: Docker, verdict: str, report: str, code: int
) -> None:
    docker.let("verdict", verdict)
    docker.let("report", report)
    done = docker.prove("--yes")
    assert done.returncode == code
    assert steps(docker)[-3:] == ["rm --force", "network rm", "compose start"]
    if not report:
        assert "the last words" in done.stderr
        assert "without a report" in done.stderr


@pytest.mark.parametrize("code", [1, 124])
def test_only_a_proof_that_took_too_long_is_said_to(docker: Docker, code: int) -> None:
    (docker.folder / "timeout").write_text(
        f'#!/bin/sh\nprintf %s "$1" >"{docker.folder}/limit"\nexit {code}\n'
    )
    (docker.folder / "timeout").chmod(0o755)
    done = docker.prove("--yes")
    assert (docker.folder / "limit").read_text() == str(DEADLINE_S)
    assert ("more than 20 minutes" in done.stderr) == (code == 124)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_stops_it_finds_the_box_running(
    docker: Docker, number: signal.Signals, code: int
) -> None:
    docker.let("slow", "")
    with subprocess.Popen(
        [SCRIPT, "--yes"], env=docker.environment, stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        try:
            until((docker.folder / "waiting").exists, 30)
            running.send_signal(number)
            assert running.wait(30) == code
        finally:
            running.kill()
    assert steps(docker)[-3:] == ["rm --force", "network rm", "compose start"]


def test_a_box_that_was_stopped_stays_so(docker: Docker) -> None:
    docker.let("running", "")
    assert docker.prove().returncode == 0
    assert [step for step in steps(docker) if step.startswith("compose")] == []


def test_what_tracing_needs_is_added_only_where_it_is_needed(docker: Docker) -> None:
    docker.let("traced", "1")
    assert docker.prove("--yes").returncode == 0
    run = docker.proof
    assert "--cap-drop ALL" in run
    assert "--cap-add SYS_PTRACE" in run
    docker.let("traced_with", "1")
    (docker.folder / "log").unlink()
    refused = docker.prove("--yes")
    assert refused.returncode == 3
    assert "ptrace_scope" in refused.stderr
    assert steps(docker) == ["run --rm", "run --rm"], "nothing was stopped"


@pytest.mark.parametrize(
    ("asked", "words"),
    [(" -1", "--gpus all "), (" 1", "--gpus 1 "), ("0,2, 0", '--gpus "device=0,2" ')],
)
def test_the_boxs_gpus_are_the_proofs(docker: Docker, asked: str, words: str) -> None:
    docker.let("gpus", asked)
    assert docker.prove("--yes", "--negative-control").returncode == 0
    run = docker.proof
    assert words in run
    assert run.endswith("inside /proof --negative-control")


@pytest.mark.parametrize(("box", "arguments", "code"), [("", (), 3), ("cafe01", ("--now",), 2)])
def test_what_cannot_be_is_said_in_a_sentence(
    docker: Docker, box: str, arguments: tuple[str, ...], code: int
) -> None:
    docker.let("box", box)
    done = docker.prove(*arguments)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert not (docker.folder / "log").exists() or docker.asked == []
