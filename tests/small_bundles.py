"""Small bundles as `bundle create` makes them, and boxes installed from them; Docker is a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.fakes_docker import TAG, Docker, call, fake_docker, make_key, repack, small_project

HEALTHY = "running healthy 0 0"


@dataclass
class Made:
    """A bundle, who signed it, and what made it."""

    project: Path
    folder: Path
    key: Path
    stranger: Path

    @property
    def signer(self) -> Path:
        return self.key.with_name(self.key.name + ".pub")


def make_bundle(folder: Path) -> Made:
    """Version 1.0 with one model, not to be changed; the key is a new one."""
    docker = fake_docker(folder / "bin")
    project = small_project(folder / "project", docker.state / "calls")
    made = Made(project, folder / "bundle", make_key(folder / "key"), make_key(folder / "other"))
    done = call(
        docker, project / "scripts/appliance", "bundle", "create", "--models", "large",
        "--key", made.key, "--image", TAG, "--out", made.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SHA256:" in done.stdout
    return made


@dataclass
class Box:
    """An installed box."""

    root: Path
    docker: Docker
    bundle: Made

    def second(
        self, box: str = HEALTHY, key: Path | None = None, layers: str = "sha256:two"
    ) -> Path:
        """The bundle of version 2.0, whose container becomes what is said."""
        folder = self.root.parent / "second"
        shutil.copytree(self.bundle.folder, folder)
        return repack(folder, key or self.bundle.key, "2.0", layers, box)

    def update(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        (self.docker.state / "calls").unlink(missing_ok=True)
        return call(self.docker, self.root / "scripts/appliance", "update", *arguments)

    @property
    def set_image(self) -> str:
        lines = (self.root / ".env").read_text().splitlines()
        return next(line for line in lines if line.startswith("EARSHOT_IMAGE="))

    @property
    def runs(self) -> str:
        # It is written and taken away while this is asked.
        try:
            return (self.docker.state / "box").read_text().strip()
        except FileNotFoundError:
            return ""

    def is_as_before(self) -> bool:
        """Version 1.0 in every respect, and nothing of the update left."""
        return (
            self.set_image == f"EARSHOT_IMAGE={TAG}"
            and self.runs == "sha256:one"
            and "of version 2.0" not in (self.root / "LICENSE").read_text()
            and '"version": "1.0"' in (self.root / "manifest.json").read_text()
            and os.access(self.root / "scripts/host/update", os.X_OK)
            and not (self.root / ".update").exists()
        )


def empty_docker(folder: Path) -> Docker:
    """One that has no image yet."""
    made = fake_docker(folder)
    (made.state / "images" / TAG).unlink()
    return made


def install(
    bundle: Made, docker: Docker, into: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    """Install, with stand-ins that write down when the machine is looked at and the proof is made."""
    folder = into.parent / "first"
    if not folder.exists():
        shutil.copytree(bundle.folder, folder)
        for name in ("preflight", "prove-offline"):
            path = folder / "scripts/host" / name
            path.write_text(
                f'#!/usr/bin/env bash\necho {name} >>{docker.state}/calls\n[ ! -e "{docker.state}/no-{name}" ]\n'
            )
        repack(folder, bundle.key, "1.0", "sha256:one", HEALTHY)
    return call(
        docker, "bash", folder / "install.sh", "--signer", bundle.signer, "--into", into, *more
    )


def order(calls: list[str], *wanted: str) -> bool:
    """Whether calls with these words came one after the other."""
    place = -1
    for word in wanted:
        found = [index for index, one in enumerate(calls) if index > place and word in one]
        if not found:
            return False
        place = found[0]
    return True
