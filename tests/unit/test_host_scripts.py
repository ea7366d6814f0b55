"""The command on a machine that has Docker and no set-up: what it hands on, and what it says itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
# Docker with compose; `ps` finds the box where the file `runs` is.
DOCKER = r"""#!/usr/bin/env bash
here=$(dirname "$(readlink -f "$0")")
printf '%s\n' "$*" >>"$here/asked"
case "$*" in
  "version --format"*) echo "${DOCKER_VERSION:-24.0.7}" ;;
  "compose version --short") echo "${COMPOSE_VERSION:-2.40.3}" ;;
  "info --format {{.DockerRootDir}}") echo / ;;
  "info --format {{json .Runtimes}}") echo "${RUNTIMES:-runc}" ;;
  "compose ps "*)
    if [ -n "${BROKEN:-}" ]; then echo "$BROKEN" >&2 && exit 15; fi
    [ ! -e "$here/runs" ] || echo 4af1
    ;;
  "compose config --images earshot") echo earshot:1.0 ;;
  "image inspect earshot:1.0") [ ! -e "$here/no-image" ] ;;
  "compose exec -T earshot dd "*) cat >"$here/put.$((${#*}))" ;;
  "compose exec -T earshot cat "*) echo "the answer" ;;
  "compose exec "*appliance*)
    [ -z "${ENDED:-}" ] || kill "$PPID"
    exit "${ANSWER:-0}"
    ;;
esac
"""
GOOD_GPU = "echo '570.133.20, 23000, NVIDIA GeForce RTX 4090'"
# What the machine itself has must not decide.
DF = 'echo "Filesystem 1048576-blocks Used Available Capacity Mounted"; echo "disk 1 1 ${FREE_MB:-50000} 1% /"'
HEAD = r"""case "$*" in
  */proc/meminfo) echo "MemTotal: ${RAM_KB:-16000000} kB" ;;
  *) exec /usr/bin/head "$@" ;;
esac"""


class Host:
    """A folder as a bundle leaves it, and a machine with only what Debian always has."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "earshot"
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / "scripts" / "host", self.root / "scripts" / "host")
        shutil.copy(ROOT / "scripts" / "appliance", self.root / "scripts")
        self.program("docker", DOCKER)
        self.program("df", DF)
        self.program("head", HEAD)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text if text.startswith("#!") else f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def run(
        self, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("APPLIANCE_", "COMPOSE_"))}
        return subprocess.run(
            [self.root / "scripts" / "appliance", *arguments], cwd=cwd or self.root, text=True,
            env={**kept, "PATH": f"{self.bin}:/usr/bin:/bin", **environment}, timeout=120,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        """What Docker was asked."""
        path = self.bin / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def start(self) -> None:
        (self.bin / "runs").touch()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# ---- the command -----------------------------------------------------------------------------


def test_what_is_not_the_hosts_is_the_containers(host: Host) -> None:
    host.start()
    done = host.run("sessions", "list", "--limit", "3", ANSWER="3")
    assert done.returncode == 3
    assert host.asked[-1] == "compose exec -T earshot appliance sessions list --limit 3"


def test_a_container_that_does_not_run_is_said_in_one_line(host: Host) -> None:
    done = host.run("status")
    assert done.returncode == 3
    assert (
        done.stderr == "Earshot's container does not run: start it with `docker compose up -d`.\n"
    )


def test_what_compose_complains_of_is_shown(host: Host) -> None:
    done = host.run("status", BROKEN="yaml: line 3: did not find expected key")
    assert done.returncode == 3
    assert done.stderr == (
        "Docker compose does not say whether Earshot runs: "
        "yaml: line 3: did not find expected key.\n"
    )


def test_a_stop_that_is_asked_for_more_than_it_does_stops_nothing(host: Host) -> None:
    assert host.run("down", "--help").returncode == 0
    done = host.run("down", "--volumes")
    assert done.returncode == 2
    assert "docker compose down --volumes" in done.stderr
    assert host.asked == []


def test_a_call_without_sound_leaves_the_file_that_was_there(host: Host, tmp_path: Path) -> None:
    host.start()
    host.program("docker", DOCKER.replace('cat "*) echo "the answer"', 'cat "*) exit 1'))
    out = tmp_path / "mine.wav"
    out.write_text("mine")
    assert host.run("call", "nosuch.flac", "--out", out, ANSWER="2").returncode == 2
    assert out.read_text() == "mine"


@pytest.mark.parametrize("given", [("--out",), ("--out=",), ("--out", "/nowhere/a.wav")])
def test_a_sound_that_cannot_be_kept_is_said_before_the_call(
    host: Host, given: tuple[str, ...]
) -> None:
    host.start()
    done = host.run("call", "a.flac", *given)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not any("appliance call" in asked for asked in host.asked)


def test_up_and_down_are_composes(host: Host) -> None:
    assert host.run("run", "--detach").returncode == 0
    assert host.run("run").returncode == 0
    assert host.run("down").returncode == 0
    assert host.asked == ["compose up --detach --wait", "compose up", "compose down"]
    assert host.run("run", "--quickly").returncode == 2


def test_what_is_no_word_of_ours_starts_nothing_of_the_host(host: Host) -> None:
    host.start()
    for word in ("lib.sh", "../host/down", ""):
        host.run(word)
    assert "compose down" not in host.asked
    assert host.asked[-1].startswith("compose exec -T earshot appliance")


def test_beside_a_set_up_the_command_stays_where_it_is(host: Host) -> None:
    python = host.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/usr/bin/env bash\necho "native $*"\n')
    python.chmod(0o755)
    assert host.run("down").stdout == "native -P -m appliance.cli down\n"
    assert host.run("backup", "restore", "x").stdout.startswith("native")
    assert host.asked == []
    assert host.run("down", EARSHOT_COMPOSE="1").stdout == ""
    assert host.asked == ["compose down"]
    # There is only one machine to look at.
    assert "docker" in host.run("preflight", "--cpu").stdout


def test_recordings_go_in_and_the_answer_comes_back(host: Host, tmp_path: Path) -> None:
    host.start()
    question = tmp_path / "a question.wav"
    question.write_bytes(b"RIFF")
    done = host.run(
        "call", question, "--persona", "ann", "--out", tmp_path / "reply.wav", cwd=tmp_path, ANSWER="1"
    )  # fmt: skip
    assert done.returncode == 1
    (call,) = (line for line in host.asked if " appliance call " in line)
    given = call.partition(" appliance call ")[2]
    there = given.split("/1/")[0]
    assert given == f"{there}/1/a question.wav --persona ann --out {there}/out.wav"
    assert [path.read_bytes() for path in host.bin.glob("put.*")] == [b"RIFF"]
    assert (tmp_path / "reply.wav").read_text() == "the answer\n"
    assert host.asked[-1] == f"compose exec -T earshot rm -rf {there}"


def test_only_files_that_are_meant_as_such_go_in(host: Host, tmp_path: Path) -> None:
    host.start()
    for name in ("ann", "https:", "key", "root.crt", "q.wav"):
        (tmp_path / name).write_text(name)
    host.run(
        "call", "--persona", "ann", "--url", "https:", "--api-key-file", "key", "--ca=root.crt", "q.wav",
        cwd=tmp_path,
    )  # fmt: skip
    (call,) = (line for line in host.asked if " appliance call " in line)
    given = call.partition(" appliance call ")[2].split()
    assert given[:5] == ["--persona", "ann", "--url", "https:", "--api-key-file"]
    there = given[5].removesuffix("/1/key")
    assert given[5:] == [f"{there}/1/key", f"--ca={there}/2/root.crt", f"{there}/3/q.wav"]


def test_a_call_that_is_ended_leaves_nothing_inside(host: Host, tmp_path: Path) -> None:
    host.start()
    (tmp_path / "q.wav").write_bytes(b"RIFF")
    assert host.run("call", "q.wav", cwd=tmp_path, ENDED="1").returncode == 143
    assert host.asked[-1].startswith("compose exec -T earshot rm -rf /tmp/earshot-call.")


def test_a_setting_is_the_environments_or_the_files(host: Host) -> None:
    (host.root / ".env").write_text('# ports\nAPPLIANCE_A=1\nAPPLIANCE_B="two"\r\nAPPLIANCE_A=3')
    script = f". {host.root}/scripts/host/lib.sh; for n in A B C; do setting APPLIANCE_$n none; echo; done"
    done = subprocess.run(
        ["bash", "-euc", script], text=True, capture_output=True, check=True,
        env={"APPLIANCE_C": "c", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.split() == ["3", "two", "c"]


# ---- preflight -------------------------------------------------------------------------------


def lines(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What was found, by its name; "NO " begins what is in the way."""
    found = {}
    for line in done.stdout.splitlines():
        if line[:5] in ("ok   ", "NO   "):
            found[line[5:].split()[0]] = line[:3].strip() + line[14:]
    return found


def free_ports(host: Host) -> None:
    """Ports that a box on this machine does not have."""
    names = ("FRONT__HTTP_PORT", "FRONT__HTTPS_PORT", "LIVEKIT__PORT", "LIVEKIT__TCP_PORT", "LIVEKIT__UDP_PORT", "AGENT__HEALTH_PORT")  # fmt: skip
    held = [socket.socket() for _ in names]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    text = "".join(f"APPLIANCE_{name}={port}\n" for name, port in zip(names, ports, strict=True))
    (host.root / ".env").write_text(text)


def test_a_machine_on_which_everything_is_well(host: Host) -> None:
    free_ports(host)
    host.program("nvidia-smi", GOOD_GPU)
    done = host.run("preflight", RUNTIMES='{"nvidia":{}}')
    found = lines(done)
    # AVX2 and a network are this machine's own, to have or not.
    own = {"processor", "address"}
    assert set(found) - own == {
        "docker", "compose", "toolkit", "driver", "memory", "ram", "disk", "ports",
    }  # fmt: skip
    assert own < set(found)
    wrong = {name for name, told in found.items() if told.startswith("NO")}
    assert wrong <= own
    assert "RTX 4090" in found["driver"]
    assert done.returncode == (1 if wrong else 0)
    assert done.stdout.endswith("This machine can run Earshot.\n") == (not wrong)


@pytest.mark.parametrize(
    ("smi", "environment", "name", "told"),
    [
        (GOOD_GPU, {}, "toolkit", "install nvidia-container-toolkit"),
        ("echo '515.65.01, 23000, NVIDIA GeForce RTX 3090'", {}, "driver", "is 515.65.01: CUDA 12 needs 525"),
        ("exit 9", {}, "driver", "does not answer"),
        ("", {}, "driver", "there is no nvidia-smi"),
        ("echo '570.1, 300, NVIDIA A2'", {}, "memory", "Only 300 MB"),
        (GOOD_GPU, {"DOCKER_VERSION": "19.3.1"}, "docker", "update it to 20.10"),
        (GOOD_GPU, {"COMPOSE_VERSION": "v2.9.0"}, "compose", "update it to 2.24"),
        (GOOD_GPU, {"RAM_KB": "6500000"}, "ram", "has 6656 MB of memory, and Earshot needs 7000"),
        (GOOD_GPU, {"FREE_MB": "11999"}, "disk", "and Earshot needs 12000"),
        (GOOD_GPU, {"APPLIANCE_LIVEKIT__NODE_IP": "203.0.113.9"}, "address", "203.0.113.9, which this machine has not"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_named_with_what_to_do(
    host: Host, smi: str, environment: dict[str, str], name: str, told: str
) -> None:
    free_ports(host)
    if smi:
        host.program("nvidia-smi", smi)
    done = host.run("preflight", cwd=host.root, **environment)
    found = lines(done)
    assert done.returncode == 1
    assert found[name].startswith("NO")
    assert told in found[name]
    assert "In the way:" in done.stderr


def test_a_port_that_is_taken_is_named_with_its_setting(host: Host) -> None:
    free_ports(host)
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("", 0))
        done = host.run(
            "preflight", "--cpu", APPLIANCE_LIVEKIT__PORT=str(tcp.getsockname()[1]),
            APPLIANCE_LIVEKIT__UDP_PORT=str(udp.getsockname()[1]),
        )  # fmt: skip
        said = [line for line in done.stdout.splitlines() if line.startswith("NO   ports")]
        assert f"TCP port {tcp.getsockname()[1]} is in use" in said[0]
        assert "APPLIANCE_LIVEKIT__PORT" in said[0]
        assert f"UDP port {udp.getsockname()[1]} is in use" in said[1]
        # A box that runs has them itself.
        host.start()
        assert "NO   ports" not in host.run("preflight", "--cpu").stdout


def test_another_kind_of_processor_is_in_the_way(host: Host) -> None:
    free_ports(host)
    host.program("uname", "echo aarch64")
    told = lines(host.run("preflight", "--cpu"))["processor"]
    assert told.startswith("NO")
    assert "aarch64" in told


def test_what_has_to_be_built_needs_more_room(host: Host) -> None:
    free_ports(host)
    (host.bin / "no-image").touch()
    for arguments, free, needed in ((["--cpu"], "7999", "8000"), ([], "29999", "30000")):
        told = lines(host.run("preflight", *arguments, FREE_MB=free))["disk"]
        assert told.startswith("NO")
        assert f"building Earshot needs {needed}" in told
    # A bundle brings its image.
    (host.root / "manifest.json").touch()
    assert lines(host.run("preflight", "--cpu", FREE_MB="3000"))["disk"].startswith("ok")
    assert lines(host.run("preflight", "--cpu", FREE_MB="2999"))["disk"].startswith("NO")


@pytest.mark.parametrize("port", ["abc", "70000", "0", "80 80"])
def test_what_is_no_port_is_named(host: Host, port: str) -> None:
    (host.root / ".env").write_text(f"APPLIANCE_FRONT__HTTP_PORT={port}\n")
    done = host.run("preflight")
    assert done.returncode == 1
    assert f"APPLIANCE_FRONT__HTTP_PORT is {port}, and a port is a number" in done.stdout
    assert "printf" not in done.stderr


def test_settings_are_read_as_compose_reads_them(host: Host) -> None:
    (host.root / ".env").write_text(
        "  export COMPOSE_PROJECT_NAME='second # one'  # ours\r\nEARSHOT_IMAGE=a:1 # old\n"
    )
    library = host.root / "scripts/host/lib.sh"
    done = subprocess.run(
        ["bash", "-c", f'. {library}; project_name; echo; setting EARSHOT_IMAGE ""'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "second # one\na:1"


@pytest.mark.parametrize("name", ["APPLIANCE_LIVEKIT__PORT", "APPLIANCE_AGENT__HEALTH_PORT"])
def test_ports_that_dockers_own_network_hides_may_be_taken(host: Host, name: str) -> None:
    free_ports(host)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken: Any = {name: str(other.getsockname()[1])}
        assert lines(host.run("preflight", "--cpu", **taken))["ports"].startswith("NO")
        taken["COMPOSE_FILE"] = "docker-compose.yml:docker-compose.bridge.yml"
        done = host.run("preflight", "--cpu", **taken)
        assert lines(done)["ports"].startswith("ok"), done


def test_without_a_gpu_nobody_asks_for_one(host: Host) -> None:
    free_ports(host)
    assert "toolkit" not in lines(host.run("preflight", "--cpu"))
    with (host.root / ".env").open("a") as file:
        file.write("COMPOSE_FILE=docker-compose.yml:docker-compose.cpu.yml\n")
    assert "toolkit" not in lines(host.run("preflight"))
    (host.bin / "docker").unlink()
    if not shutil.which("docker", path="/usr/bin:/bin"):
        assert "Docker is missing" in lines(host.run("preflight"))["docker"]
