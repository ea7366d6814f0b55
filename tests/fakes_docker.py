"""A `docker` that keeps a few files instead of images, and a small bundle around it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from appliance.settings import PROJECT_DIR

HOST = PROJECT_DIR / "scripts" / "host"
MODEL = b"weights" * 100
TAG = "earshot:1.0"

# Images are files named after their tag: version, layers, what becomes of a box made of it.
_DOCKER = r"""#!/usr/bin/env bash
set -u
state=@STATE@
printf '%s\n' "$*" >>"$state/calls"
image() {
  local one
  for one in "$state"/images/*; do
    [[ $1 == id-* && -f $one ]] || continue
    if [ "$1" = "id-$(sha256sum <"$one" | cut -c 1-64)" ]; then printf '%s' "$one" && return; fi
  done
  printf '%s/images/%s' "$state" "${1//\//_}"
}
line() { sed -n "${2}p" "$(image "$1")"; }
tag() { printf '%s' "${EARSHOT_IMAGE:-$(sed -n 's/^EARSHOT_IMAGE=//p' .env 2>/dev/null | tail -n 1)}"; }
# As a power cut right after this step.
ended() { [ ! -e "$state/kill-$1" ] || { rm "$state/kill-$1"; kill -9 "$PPID"; exit 1; }; }
case "$1 ${2:-}" in
  "image inspect")
    for last; do :; done
    [ -f "$(image "$last")" ] || exit 1
    case "$*" in
      *RootFS*) line "$last" 2 ;;
      *Config.Env*) echo APPLIANCE_GPU=off ;;
      *.Id*) echo "id-$(sha256sum <"$(image "$last")" | cut -c 1-64)" ;;
    esac
    ;;
  "run --rm")
    case "$*" in
      *--version) echo "Earshot $(line "${@: -2:1}" 1)" ;;
      *"models export"*) cat "$state/export.tar" ;;
    esac
    ;;
  "save "*)
    cat "$(image "$2")"; echo "$2"
    [ ! -e "$state/rebuilt" ] || echo anew >>"$(image "$2")"
    ;;
  "load --input")
    gzip -dc "$3" >"$state/loaded" || exit 1
    head -n 3 "$state/loaded" >"$(image "$(tail -n 1 "$state/loaded")")"
    [ ! -e "$state/swapped" ] || sed -i 2s/.*/sha256:other/ "$(image "$(tail -n 1 "$state/loaded")")"
    ;;
  "tag "*)
    ended before-tag
    cp "$(image "$2")" "$state/tagged" && mv "$state/tagged" "$(image "$3")"
    ;;
  "volume inspect") [ -e "$state/imported.tar" ] ;;
  "create "*) echo container ;;
  "cp "*)
    case "$2" in
      *src) echo sources ;;
      *) echo '{}' >"$3" ;;
    esac
    ;;
  "inspect --format")
    case "$*" in
      *.Image*) cat "$state/box-image" ;;
      *) cat "$state/health" ;;
    esac
    ;;
  "compose "*)
    case "$*" in
      *"config --images"*) tag; echo ;;
      *" ps "*) [ ! -e "$state/box" ] || echo container ;;
      *" up "*)
        [ ! -e "$state/no-up" ] || exit 1
        line "$(tag)" 2 >"$state/box"
        line "$(tag)" 3 >"$state/health"
        tag >"$state/box-image"
        ended up
        ;;
      *" stop"*) rm -f "$state/box" ;;
      *"models import"*)
        cat >"$state/imported.tar"
        [ ! -e "$state/no-import" ] || exit 1
        ;;
      *"database kind"*) if [ -e "$state/server" ]; then echo server; else echo file; fi ;;
      *"database keep"*)
        [ ! -e "$state/no-keep" ] || exit 1
        [ ! -e "$state/empty" ] || { echo "nothing: there is no database yet" && exit; }
        line "$(tag)" 1 >"$state/kept" && echo "kept: the database is copied"
        ;;
      *"database put-back"*)
        line "$(tag)" 1 >"$state/back"
        ended put-back
        ;;
      *"database drop"*) ended drop ;;
    esac
    ;;
esac
"""


@dataclass
class Docker:
    """The folder of the fake program, and what it was asked."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def calls(self) -> list[str]:
        path = self.state / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def image(self, tag: str, version: str, layers: str, box: str = "running healthy 0 0") -> None:
        """An image, and what becomes of a container of it: state, health, restarts, exit code."""
        (self.state / "images" / tag).write_text(f"{version}\n{layers} \n{box}\n")

    def flag(self, name: str) -> None:
        (self.state / name).touch()

    @property
    def changed(self) -> list[str]:
        """The calls that a machine would notice."""
        words = ("load", "tag", "up", "stop", "run")
        return [call for call in self.calls if any(f" {word} " in f" {call} " for word in words)]


def fake_docker(folder: Path) -> Docker:
    """A folder to put before PATH."""
    docker = Docker(folder)
    (docker.state / "images").mkdir(parents=True)
    _program(folder / "docker", _DOCKER.replace("@STATE@", str(docker.state)))
    real = shutil.which("sleep")
    _program(folder / "sleep", f"#!/bin/sh\nexec {real} 0.02\n")
    docker.image(TAG, "1.0", "sha256:one")
    listed = {
        "models": [{"id": "large", "licence": "MIT", "size": len(MODEL), "vram": 1, "files": []}]
    }
    text = json.dumps(listed, indent=2).encode() + b"\n"
    with tarfile.open(docker.state / "export.tar", "w") as archive:
        for name, content in {"models.json": text, "large/model.gguf": MODEL}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return docker


def small_project(folder: Path, calls: Path) -> Path:
    """The scripts of the host in a folder of their own, with stand-ins for what needs a machine."""
    shutil.copytree(HOST, folder / "scripts/host")
    shutil.copy(PROJECT_DIR / "scripts/appliance", folder / "scripts/appliance")
    for name in ("README.md", "LICENSE", "NOTICE"):
        shutil.copy(PROJECT_DIR / name, folder / name)
    shutil.copytree(
        PROJECT_DIR / "docs", folder / "docs", ignore=shutil.ignore_patterns("pictures")
    )
    for path in PROJECT_DIR.glob("docker-compose*.yml"):
        shutil.copy(path, folder / path.name)
    for name in ("preflight", "prove-offline"):
        _program(
            folder / "scripts/host" / name,
            f'#!/usr/bin/env bash\necho {name} >>{calls}\n[ ! -e "{calls.parent}/no-{name}" ]\n',
        )
    return folder


def make_key(path: Path) -> Path:
    """A private SSH key; its public part lies beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def sign(bundle: Path, key: Path, namespace: str = "earshot-bundle") -> None:
    """Sign the list again."""
    (bundle / "SHA256SUMS.sig").unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, bundle / "SHA256SUMS"],
        check=True, capture_output=True,
    )  # fmt: skip


def seal(bundle: Path, key: Path) -> None:
    """Make the list anew from what lies there, and sign it."""
    names = sorted(
        str(path.relative_to(bundle))
        for path in bundle.rglob("*")
        if path.is_file() and not path.name.startswith("SHA256SUMS")
    )
    done = subprocess.run(
        ["sha256sum", *names], cwd=bundle, check=True, capture_output=True, text=True
    )
    (bundle / "SHA256SUMS").write_text(done.stdout)
    sign(bundle, key)


def repack(bundle: Path, key: Path, version: str, layers: str, box: str) -> Path:
    """Turn a bundle into one of another version, whose box becomes what is said."""
    tag = f"earshot:{version}"
    with gzip.open(bundle / "image.tar.gz", "wb") as file:
        file.write(f"{version}\n{layers} \n{box}\n{tag}\n".encode())
    manifest = json.loads((bundle / "manifest.json").read_text())
    mark = hashlib.sha256(f"{layers} ".encode()).hexdigest()
    manifest |= {"version": version, "image_tag": tag, "image_mark": mark}
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (bundle / "LICENSE").write_text(f"of version {version}\n")
    seal(bundle, key)
    return bundle


def call(
    docker: Docker, *command: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script where this fake docker comes first, without a terminal."""
    return subprocess.run(
        [str(part) for part in command], env=_environment(docker), cwd=cwd, text=True,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


def start(docker: Docker, *command: str | Path) -> subprocess.Popen[str]:
    """The same without waiting for its end."""
    return subprocess.Popen(
        [str(part) for part in command], env=_environment(docker), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def call_at_terminal(docker: Docker, answer: str, *command: str | Path) -> tuple[int, str]:
    """The same at a terminal, with this answer typed; the exit code and everything shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(part) for part in command], env=_environment(docker),
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        shown, _ = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, shown


def _environment(docker: Docker) -> dict[str, str]:
    left_out = ("EARSHOT_IMAGE", "COMPOSE_FILE", "EARSHOT_COMPOSE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    # A script that a test kills leaves its folder behind.
    ours = {"TMPDIR": str(docker.state), "PATH": f"{docker.folder}:{kept['PATH']}", "LC_ALL": "C"}
    return {**kept, **ours}


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
