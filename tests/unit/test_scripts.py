"""The scripts people type: what they say when something is missing or wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CATEGORIES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for folder in ("scripts", "scripts/host", "docker", "docker/build", ".ci")
    for path in (ROOT / folder).iterdir()
    if path.is_file() and (path.suffix == ".sh" or path.read_bytes()[:2] == b"#!")
)
# What any Linux has; everything else is for set-up to ask for.
BASE_TOOLS = (
    "awk", "basename", "bash", "cat", "cut", "df", "dirname", "find", "flock", "grep", "head", "id",
    "mkdir", "readlink", "rm", "sha256sum", "sort", "tail", "tr", "xargs",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the scripts, as in a clone that nobody has set up."""
    shutil.copytree(ROOT / "scripts", tmp_path / "clone/scripts")
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, tmp_path / "clone")
    return tmp_path / "clone"


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder of programs that has the base tools and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASE_TOOLS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def call(
    *command: str | Path, path: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": str(path)} if path else None
    return subprocess.run(
        [str(part) for part in command], env=env, cwd=cwd, text=True, capture_output=True,
        timeout=30, check=False,
    )  # fmt: skip


def test_setup_names_everything_that_is_missing_in_one_line(project: Path, bare_path: Path) -> None:
    done = call(project / "scripts/setup", "--test", path=bare_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for what in ("python3-venv", "g++", "chromium", "strace"):
        assert what in done.stderr
    assert "apt-get install" in done.stderr
    assert not (project / ".venv").exists()


def test_setup_asks_for_no_test_tools_when_nothing_is_tested(
    project: Path, bare_path: Path
) -> None:
    done = call(project / "scripts/setup", path=bare_path)
    assert done.returncode == 1
    assert "g++" in done.stderr
    assert "chromium" not in done.stderr


def test_setup_says_when_the_python_is_too_old(project: Path, bare_path: Path) -> None:
    stand_in(bare_path, "python3", "exit 1")
    done = call(project / "scripts/setup", path=bare_path)
    assert "Python 3.11 to 3.13" in done.stderr


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("3.11", "apt-get install -y python3.11 python3.11-venv"),
        ("3.11 3.13", "apt-get install -y python3.13 python3.13-venv"),
    ],
)
def test_setup_names_a_python_that_this_machine_can_get(
    project: Path, bare_path: Path, known: str, told: str
) -> None:
    stand_in(bare_path, "python3", "exit 1")
    stand_in(bare_path, "c++", "exit 0")
    stand_in(
        bare_path, "apt-cache",
        f'for known in {known}; do [ "$2" != "python$known" ] || {{ echo Package; exit; }}; done; exit 100',
    )  # fmt: skip
    done = call(project / "scripts/setup", path=bare_path)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_setup_names_no_package_where_no_such_python_is_to_be_had(
    project: Path, bare_path: Path
) -> None:
    stand_in(bare_path, "python3", "exit 1")
    stand_in(bare_path, "c++", "exit 0")
    done = call(project / "scripts/setup", path=bare_path)
    assert done.stderr == "This machine lacks Python 3.11 to 3.13 with venv.\n"


def test_setup_as_root_looks_again_once_the_package_lists_are_there(
    project: Path, bare_path: Path
) -> None:
    stand_in(bare_path, "python3", "exit 1")
    stand_in(bare_path, "c++", "exit 0")
    (bare_path / "id").unlink()
    stand_in(bare_path, "id", "echo 0")
    stand_in(bare_path, "apt-get", 'echo "$@" >>apt; [ "$1" != update ] || : >lists')
    stand_in(bare_path, "apt-cache", "[ -e lists ] && echo Package")
    done = call(project / "scripts/setup", path=bare_path)
    update, install = (project / "apt").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("python3.13 python3.13-venv")
    assert done.returncode == 1


def test_other_build_flags_build_the_go_programs_again(project: Path) -> None:
    text = (project / "scripts/setup").read_text()
    assert text.endswith('\nmain "$@"\n')
    (project / "scripts/steps").write_text(text.removesuffix('main "$@"\n'))
    program = "set_up_go_program caddy 'a while' module v1 h1:sum cmd/caddy"
    done = call(
        "bash", "-c",
        ". scripts/steps; mkdir -p .cache/bin .cache/stamps; "
        'step() { echo "$1 is built"; : >.cache/bin/caddy; chmod +x .cache/bin/caddy; }; '
        f"{program}; {program}; GO_LINK_FLAGS=-s; {program}; GO_FLAGS=; {program}",
        cwd=project,
    )  # fmt: skip
    assert done.stdout == "caddy is built\n" * 3


def test_setup_says_when_the_disk_is_too_small(project: Path, bare_path: Path) -> None:
    (bare_path / "df").unlink()
    stand_in(bare_path, "df", "echo head; echo /dev/disk 9000 8900 100 99% /")
    done = call(project / "scripts/setup", path=bare_path)
    assert done.returncode == 1
    assert "5 GB" in done.stderr
    assert done.stderr.count("\n") == 1


def test_setup_says_when_a_download_fails_and_can_be_run_again(
    project: Path, bare_path: Path
) -> None:
    stand_in(bare_path, "c++", "exit 0")
    # A Python that makes an environment whose pip finds no network.
    broken = 'echo "ERROR: Could not resolve host"; exit 1'
    stand_in(
        bare_path,
        "python3",
        "case \"$*\" in *'-m venv'*) mkdir -p .venv/bin; printf '%s' '#!/usr/bin/env bash\n"
        f'[ "$1" = -c ] || {{ {broken}; }}\' >.venv/bin/python; chmod +x .venv/bin/python;; esac',
    )
    (bare_path / "chmod").symlink_to(shutil.which("chmod") or "")
    for _ in range(2):
        done = call(project / "scripts/setup", path=bare_path)
        assert done.returncode == 1
        assert "A download for packages failed" in done.stderr
        assert done.stderr.count("\n") == 1
        assert "packages.log" in done.stderr
    assert not (project / ".cache/stamps/packages").exists()


def test_setup_refuses_a_misspelt_option(project: Path) -> None:
    done = call(project / "scripts/setup", "--tests")
    assert done.returncode == 1
    assert "usage" in done.stderr


def test_the_command_says_in_one_line_what_to_run_first(project: Path) -> None:
    done = call(project / "scripts/appliance", "status")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert f"{project}/scripts/setup" in done.stderr


def test_the_command_works_through_a_link_and_from_where_the_caller_stands(
    project: Path, tmp_path: Path
) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    stand_in(project / ".venv/bin", "python", 'echo "$PWD" "$@"')
    link = tmp_path / "earshot"
    link.symlink_to(project / "scripts/appliance")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = call(link, "call", "a b.wav", cwd=elsewhere)
    assert done.stdout.split() == [
        str(elsewhere), "-P", "-m", "appliance.cli", "call", "a", "b.wav",
    ]  # fmt: skip


def test_test_refuses_a_category_that_does_not_exist(project: Path) -> None:
    done = call(project / "scripts/test", "units")
    assert done.returncode == 1
    assert "no category units" in done.stderr


@pytest.mark.parametrize(
    ("fails", "code"), [("nothing", 0), ("chaos", 1), ("unit", 1), ("scripts/check", 1)]
)
def test_every_category_is_tested_and_whatever_fails_is_told(
    project: Path, fails: str, code: int
) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    stand_in(project / ".venv/bin", "python", f'echo "$*"; case "$*" in *{fails}*) exit 1 ;; esac')
    stand_in(project / "scripts", "setup", ":")
    stand_in(project / "scripts", "check", f'case "$0" in {fails}) exit 1 ;; esac')
    with (project / "scripts/lib.sh").open("a") as lib:
        lib.write("use_node() { :; }\n")
    done = call(project / "scripts/test", "--", "-k", "x", "--junitxml=a.xml")
    assert done.returncode == code, done
    if fails == "scripts/check":
        assert done.stdout == ""
        return
    told = [line.split(" ") for line in done.stdout.splitlines() if line.startswith("-m pytest")]
    folders = [part for line in told for part in line if part.startswith("tests/")]
    # What is marked alone lies in security, and is run with the calls.
    everything = [name for name in CATEGORIES if name != "image"]
    assert sorted(folders) == sorted(f"tests/{name}" for name in [*everything, "security"])
    calls, beside = sorted(told, key=lambda line: "-n" in line)
    assert " ".join(calls[3:8]) == "not nightly and (alone or"
    assert " ".join(beside[3:8]) == "not nightly and not alone"
    assert "tests/security" in calls
    assert "tests/security" in beside
    assert sorted(line[-1] for line in told) == ["--junitxml=a-beside.xml", "--junitxml=a.xml"]
    assert all("not nightly" in " ".join(line) for line in told)


def test_a_chosen_category_is_tested_alone(project: Path) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    stand_in(project / ".venv/bin", "python", 'echo "$*"')
    stand_in(project / "scripts", "setup", ":")
    with (project / "scripts/lib.sh").open("a") as lib:
        lib.write("use_node() { :; }\n")
    done = call(project / "scripts/test", "services", "e2e", "--", "-x")
    assert done.stdout == "-m pytest -m (services or e2e) and not nightly tests -x\n"


def test_a_locked_package_comes_with_its_hashes() -> None:
    done = call(
        "bash", "-c", ". scripts/lib.sh; locked requirements.lock llama-cpp-python; echo; "
        "locked_without requirements.lock llama-cpp-python", cwd=ROOT,
    )  # fmt: skip
    only, rest = done.stdout.split("\n\n", 1)
    assert only.startswith("llama-cpp-python==")
    assert "--hash=sha256:" in only
    assert "llama-cpp-python" not in rest
    assert "faster-whisper==" in rest


def test_the_list_for_development_holds_everything_of_the_other() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        # What another package asks for, too, has other conditions there.
        return {line.split(" ")[0] for line in lines if line[:1].isalnum()}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_the_scripts_are_found() -> None:
    assert {"setup", "preflight", "entrypoint", "run", "lib.sh"} <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_sound(script: Path) -> None:
    # What ends in .sh is sourced, or given to bash by name.
    assert script.suffix == ".sh" or os.access(script, os.X_OK)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = call(shellcheck, "--external-sources", script, cwd=ROOT)
    assert done.stdout == ""


def test_ci_runs_what_people_run() -> None:
    assert 'exec "$(dirname "$0")/../scripts/test"' in (ROOT / ".ci/run").read_text()


def test_a_release_of_the_image_refuses_a_base_that_is_only_a_tag(project: Path) -> None:
    (project / "docker").mkdir()
    shutil.copy(ROOT / "docker/Dockerfile.cuda", project / "docker")
    shutil.copy(ROOT / "pyproject.toml", project)
    digest = "@sha256:" + 64 * "0"
    for arguments, refused in (
        (["cpu"], "debian:bookworm-slim is a tag"),
        (["cuda"], "nvidia/cuda:12.8"),
        (["cpu", "--base", f"debian{digest}", "--build-base", "debian:bookworm"], "debian:bookworm is a tag"),
        (["cpu", "--base", f"debian{digest}"], "a tree as it was committed"),
    ):  # fmt: skip
        done = call(project / "scripts/image", *arguments, "--release")
        assert done.returncode == 1
        assert refused in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_dockerfile_is_sound() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = call(hadolint, "--no-color", ROOT / "docker/Dockerfile.cuda")
    assert done.stdout == ""


def test_the_parts_of_a_lock_are_those_of_the_project() -> None:
    """The image takes these by name; a name that is missing would be left out in silence."""
    done = call(
        "bash", "-c", ". scripts/lib.sh; "
        "locked requirements-cuda.lock onnxruntime-gpu nvidia-cublas-cu12 nvidia-cuda-runtime-cu12; "
        "locked requirements-cuda-wheels.lock nvidia-cublas nvidia-cuda-runtime", cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.count("==") == 5
    assert "onnxruntime-gpu==1.26.0" in done.stdout
