"""Installing from a bundle and updating to the next: the order of things, and the way back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes_docker import (
    TAG,
    Docker,
    call,
    fake_docker,
    make_key,
    repack,
    small_project,
    start,
)
from tests.waiting import until

pytestmark = pytest.mark.unit

HEALTHY = "running healthy 0 0"
BROKEN = "exited none 0 70"
LOOPING = "restarting starting 3 1"
NEW = "earshot:2.0"


@dataclass
class Bundles:
    """The same bundle of two versions."""

    first: Path
    key: Path

    @property
    def signer(self) -> Path:
        return self.key.with_name(self.key.name + ".pub")


@dataclass
class Box:
    """An installed box."""

    root: Path
    docker: Docker
    bundles: Bundles

    def second(
        self, box: str = HEALTHY, key: Path | None = None, layers: str = "sha256:two"
    ) -> Path:
        """The bundle of version 2.0, whose container becomes what is said."""
        folder = self.root.parent / "second"
        shutil.copytree(self.bundles.first, folder)
        return repack(folder, key or self.bundles.key, "2.0", layers, box)

    def update(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        (self.docker.state / "calls").unlink(missing_ok=True)
        return call(self.docker, self.root / "scripts/appliance", "update", *arguments)

    @property
    def set_image(self) -> str:
        lines = (self.root / ".env").read_text().splitlines()
        return next(line for line in lines if line.startswith("EARSHOT_IMAGE="))

    @property
    def runs(self) -> str:
        path = self.docker.state / "box"
        return path.read_text().strip() if path.exists() else ""

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


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    folder = tmp_path_factory.mktemp("bundles")
    docker = fake_docker(folder / "bin")
    project = small_project(folder / "project", docker.state / "calls")
    key = make_key(folder / "key")
    done = call(
        docker, project / "scripts/appliance", "bundle", "create", "--models", "large",
        "--key", key, "--image", TAG, "--out", folder / "first",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Bundles(folder / "first", key)


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    made = fake_docker(tmp_path / "bin")
    (made.state / "images" / TAG).unlink()
    return made


def install(
    bundles: Bundles, docker: Docker, into: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    """Install, with stand-ins that write down when the machine is looked at and the proof is made."""
    folder = into.parent / "first"
    if not folder.exists():
        shutil.copytree(bundles.first, folder)
        for name in ("preflight", "prove-offline"):
            path = folder / "scripts/host" / name
            path.write_text(
                f'#!/usr/bin/env bash\necho {name} >>{docker.state}/calls\n[ ! -e "{docker.state}/no-{name}" ]\n'
            )
        repack(folder, bundles.key, "1.0", "sha256:one", HEALTHY)
    return call(
        docker, "bash", folder / "install.sh", "--signer", bundles.signer, "--into", into, *more
    )


@pytest.fixture
def box(bundles: Bundles, docker: Docker, tmp_path: Path) -> Box:
    done = install(bundles, docker, tmp_path / "box")
    assert done.returncode == 0, done.stderr
    return Box(tmp_path / "box", docker, bundles)


def order(calls: list[str], *wanted: str) -> bool:
    """Whether calls with these words came one after the other."""
    place = -1
    for word in wanted:
        found = [index for index, one in enumerate(calls) if index > place and word in one]
        if not found:
            return False
        place = found[0]
    return True


# ---- install -------------------------------------------------------------------------------


def test_install_looks_loads_starts_and_proves_in_this_order(box: Box) -> None:
    assert order(
        box.docker.calls, "preflight", "load", "models import", " up ", "inspect", "prove-offline"
    )
    assert "--no-build --pull never" in next(c for c in box.docker.calls if " up " in c)
    assert box.is_as_before()
    assert (
        "COMPOSE_FILE=docker-compose.yml:docker-compose.cpu.yml"
        in (box.root / ".env").read_text().splitlines()
    )
    assert (box.root / ".env").stat().st_mode & 0o777 == 0o600
    with_models = subprocess.run(
        ["tar", "-tf", box.docker.state / "imported.tar"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Files alone, the list first: that is what the box takes.
    assert with_models.stdout.splitlines() == ["models.json", "large/model.gguf"]


def test_a_machine_that_cannot_run_it_gets_nothing_loaded(
    bundles: Bundles, docker: Docker, tmp_path: Path
) -> None:
    docker.flag("no-preflight")
    done = install(bundles, docker, tmp_path / "box")
    assert done.returncode == 1
    assert "not installed yet" in done.stderr
    assert not any(call.startswith("load") for call in docker.calls)
    # Mended, the same command goes on.
    (docker.state / "no-preflight").unlink()
    assert install(bundles, docker, tmp_path / "box").returncode == 0


def test_settings_of_the_owner_stay(bundles: Bundles, docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/.env").write_text("# ours\nAPPLIANCE_FRONT__HTTPS_PORT=9443")
    assert install(bundles, docker, tmp_path / "box").returncode == 0
    lines = (tmp_path / "box/.env").read_text().splitlines()
    assert lines[:2] == ["# ours", "APPLIANCE_FRONT__HTTPS_PORT=9443"]
    assert f"EARSHOT_IMAGE={TAG}" in lines


def test_an_image_that_is_not_the_manifests_is_not_started(
    bundles: Bundles, docker: Docker, tmp_path: Path
) -> None:
    docker.flag("swapped")
    done = install(bundles, docker, tmp_path / "box")
    assert done.returncode == 1
    assert "not the image that the manifest names" in done.stderr
    assert not any(" up " in call for call in docker.calls)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("no-up", "Docker could not start"),
        ("no-import", "models were not installed"),
        ("no-prove-offline", "offline proof did not pass"),
    ],
)
def test_what_fails_is_said_in_one_sentence(
    bundles: Bundles, docker: Docker, tmp_path: Path, flag: str, said: str
) -> None:
    docker.flag(flag)
    done = install(bundles, docker, tmp_path / "box")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_installed_box_is_updated_and_not_installed_over(box: Box) -> None:
    second = box.second()
    done = call(
        box.docker, "bash", second / "install.sh", "--signer", box.bundles.signer,
        "--into", box.root,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"update {second}" in done.stderr
    assert box.is_as_before()


def test_sources_are_not_installed_over(bundles: Bundles, docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "box/.git").mkdir(parents=True)
    done = install(bundles, docker, tmp_path / "box")
    assert "sources" in done.stderr
    assert not any(call.startswith("load") for call in docker.calls)


# ---- update --------------------------------------------------------------------------------


def test_an_update_keeps_the_way_back_until_the_new_version_is_ready(box: Box) -> None:
    done = box.update(box.second())
    assert done.returncode == 0, done.stderr
    assert order(
        box.docker.calls, " earshot:before-update", "load", "models import", " stop",
        "database keep", " up ", "inspect", "database drop",
    )  # fmt: skip
    assert (box.docker.state / "kept").read_text() == "1.0\n"
    assert box.set_image == f"EARSHOT_IMAGE={NEW}"
    assert box.runs == "sha256:two"
    assert (box.root / "LICENSE").read_text() == "of version 2.0\n"
    assert not (box.root / ".update").exists()
    assert "it was 1.0" in done.stdout


@pytest.mark.parametrize("becomes", [BROKEN, LOOPING, "running unhealthy 0 0"])
def test_a_version_that_does_not_come_up_is_taken_back(box: Box, becomes: str) -> None:
    done = box.update("--wait", "1", box.second(becomes))
    assert done.returncode == 1
    assert "Going back to Earshot 1.0" in done.stdout
    assert "runs again with the data of before" in done.stdout
    assert order(box.docker.calls, "database keep", " up ", " stop", "database put-back", " up ")
    assert (box.docker.state / "back").read_text() == "1.0\n"
    assert box.is_as_before()


def test_the_same_version_made_anew_has_a_way_back_too(box: Box) -> None:
    folder = box.root.parent / "again"
    shutil.copytree(box.bundles.first, folder)
    repack(folder, box.bundles.key, "1.0", "sha256:two", BROKEN)
    assert box.update("--wait", "1", folder).returncode == 1
    # The tag is the old image's again.
    assert box.is_as_before()


@pytest.mark.parametrize("flag", ["no-import", "swapped"])
def test_what_fails_before_the_stop_does_not_touch_the_box(box: Box, flag: str) -> None:
    second = box.second()
    box.docker.flag(flag)
    done = box.update(second)
    assert done.returncode == 1
    assert "was not touched" in done.stdout
    assert not any(" stop" in call or " up " in call for call in box.docker.calls)
    assert box.is_as_before()


def test_without_a_copy_of_the_database_there_is_no_update(box: Box) -> None:
    second = box.second()
    box.docker.flag("no-keep")
    assert box.update(second).returncode == 1
    assert not any("put-back" in call for call in box.docker.calls)
    assert box.is_as_before()


def test_a_database_elsewhere_is_left_to_its_owner(box: Box) -> None:
    assert box.update("--without-copy", box.second()).returncode == 0
    assert not any(" database " in call for call in box.docker.calls)
    assert box.runs == "sha256:two"


def test_the_signer_of_the_installation_is_the_only_one(box: Box) -> None:
    stranger = make_key(box.root.parent / "stranger")
    second = box.second(key=stranger)
    done = box.update(second)
    assert done.returncode == 1
    assert "signed by somebody else" in done.stderr
    assert box.docker.calls == []
    assert box.is_as_before()
    # An owner with a new key says so, and it is that one from then on.
    assert box.update("--signer", f"{stranger}.pub", second).returncode == 0
    assert (box.root / "signer.pub").read_text().split() == (
        stranger.with_name("stranger.pub").read_text().split()[:2]
    )


def test_a_changed_bundle_is_not_loaded(box: Box) -> None:
    second = box.second()
    (second / "image.tar.gz").write_bytes(b"evil")
    done = box.update(second)
    assert "image.tar.gz" in done.stderr
    assert box.docker.calls == []
    assert box.is_as_before()


def test_an_interrupted_update_is_taken_back_by_itself(box: Box) -> None:
    command = (box.root / "scripts/appliance", "update", box.second("running starting 0 0"))
    with start(box.docker, *command) as process:
        until(lambda: box.runs == "sha256:two", what="the new version")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "runs again" in said
    assert box.is_as_before()


def test_an_update_that_was_cut_off_is_taken_back_when_asked(box: Box) -> None:
    second = box.second("exited none 0 70")
    box.docker.flag("kill-up")
    assert box.update(second).returncode == -9
    assert box.runs == "sha256:two"
    refused = box.update(second)
    assert refused.returncode == 1
    assert "--roll-back" in refused.stderr
    done = box.update("--roll-back")
    assert done.returncode == 0, done.stderr
    assert box.is_as_before()
    assert (box.docker.state / "back").read_text() == "1.0\n"


def test_an_update_that_was_cut_off_when_it_was_up_is_finished(box: Box) -> None:
    second = box.second(key=(stranger := make_key(box.root.parent / "stranger")))
    box.docker.flag("kill-up")
    assert box.update("--signer", f"{stranger}.pub", second).returncode == -9
    done = box.update("--roll-back")
    assert done.returncode == 0, done.stderr
    assert "the update is finished" in done.stdout
    assert not any("put-back" in call or " stop" in call for call in box.docker.calls)
    assert any("database drop" in call for call in box.docker.calls)
    assert box.runs == "sha256:two"
    assert box.set_image == f"EARSHOT_IMAGE={NEW}"
    assert not (box.root / ".update").exists()
    signer = (box.root / "signer.pub").read_text().split()
    assert signer == stranger.with_name("stranger.pub").read_text().split()[:2]


def test_what_a_newer_version_wrote_before_it_fell_is_set_aside(box: Box) -> None:
    box.docker.flag("kill-up")
    box.update(box.second())
    (box.docker.state / "health").write_text("exited none 0 70\n")
    assert box.update("--roll-back").returncode == 0
    assert any("database put-back --aside" in call for call in box.docker.calls)
    assert box.is_as_before()


def test_a_version_that_never_came_up_leaves_no_second_database(box: Box) -> None:
    box.update("--wait", "1", box.second(BROKEN))
    put_back = next(call for call in box.docker.calls if "put-back" in call)
    assert "--aside" not in put_back


def test_an_update_that_was_cut_off_at_its_last_step_is_never_taken_back(box: Box) -> None:
    box.docker.flag("kill-drop")
    assert box.update(box.second()).returncode == -9
    # Even if the box is down by now: its copy of the database may be gone.
    (box.docker.state / "health").write_text("exited none 0 70\n")
    done = box.update("--roll-back")
    assert done.returncode == 0, done.stderr
    assert not any("put-back" in call for call in box.docker.calls)
    assert box.set_image == f"EARSHOT_IMAGE={NEW}"
    assert not (box.root / ".update").exists()


def test_a_way_back_that_was_cut_off_is_gone_again(box: Box) -> None:
    box.docker.flag("kill-put-back")
    assert box.update("--wait", "1", box.second(BROKEN)).returncode == -9
    assert box.runs == ""
    done = box.update("--roll-back")
    assert done.returncode == 0, done.stderr
    assert box.is_as_before()


def test_where_there_is_no_database_none_is_put_back(box: Box) -> None:
    box.docker.flag("empty")
    assert box.update("--wait", "1", box.second(BROKEN)).returncode == 1
    assert not any("put-back" in call for call in box.docker.calls)
    assert box.is_as_before()


@pytest.mark.parametrize("back", [False, True])
def test_a_journal_without_a_word_is_no_obstacle(box: Box, back: bool) -> None:
    second = box.second()
    (box.root / ".update/old").mkdir(parents=True)
    if back:
        done = box.update("--roll-back")
        assert "nothing had to be put back" in done.stdout
        assert done.returncode == 0
        assert box.is_as_before()
    assert box.update(second).returncode == 0
    assert box.runs == "sha256:two"


def test_the_image_of_an_update_before_is_not_taken_for_the_present_one(box: Box) -> None:
    assert box.update(box.second()).returncode == 0
    third = box.root.parent / "third"
    shutil.copytree(box.bundles.first, third)
    repack(third, box.bundles.key, "3.0", "sha256:three", HEALTHY)
    # earshot:before-update is still version 1.0.
    box.docker.flag("kill-before-tag")
    assert box.update(third).returncode == -9
    done = box.update("--roll-back")
    assert "2.0 was not touched" in done.stdout
    assert (box.docker.state / "images" / NEW).read_text().startswith("2.0\n")


def test_nothing_is_rolled_back_under_a_running_update(box: Box) -> None:
    command = (box.root / "scripts/appliance", "update", box.second("running starting 0 0"))
    with start(box.docker, *command) as process:
        until(lambda: box.runs == "sha256:two", what="the new version")
        done = call(box.docker, box.root / "scripts/appliance", "update", "--roll-back")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert done.returncode == 1
    assert "under way" in done.stderr
    assert box.is_as_before()


def test_a_box_with_a_database_server_is_told_before_it_is_stopped(box: Box) -> None:
    box.docker.flag("server")
    second = box.second()
    done = box.update(second)
    assert done.returncode == 1
    assert "--without-copy" in done.stderr
    assert not any(call.startswith(("load", "tag")) or " stop" in call for call in box.docker.calls)
    assert box.is_as_before()
    assert box.update("--without-copy", second).returncode == 0


def test_a_failed_update_without_a_copy_says_that_the_dump_is_needed(box: Box) -> None:
    done = box.update("--without-copy", "--wait", "1", box.second(BROKEN))
    assert done.returncode == 1
    assert "needs your dump of before" in done.stdout
    assert box.is_as_before()


def test_a_box_that_is_ill_anyway_is_put_back_once_and_keeps_later_settings(box: Box) -> None:
    image = box.docker.state / "images" / TAG
    image.write_text(image.read_text().replace(HEALTHY, "running unhealthy 0 0"))
    second = box.second(BROKEN)
    with (box.root / ".env").open("a") as env:
        env.write("APPLIANCE_FRONT__HTTPS_PORT=9443\n")
    done = box.update("--wait", "1", second)
    assert done.returncode == 1
    assert "did not become ready" in done.stderr
    assert box.is_as_before()
    assert "APPLIANCE_FRONT__HTTPS_PORT=9443" in (box.root / ".env").read_text()
    assert "No update was cut off" in box.update("--roll-back").stderr


def test_the_same_bundle_again_changes_nothing(box: Box) -> None:
    done = box.update(box.root.parent / "first")
    assert "installed already" in done.stdout
    assert done.returncode == 0
    assert not any(" stop" in call for call in box.docker.calls)


def test_a_folder_that_no_bundle_made_is_not_updated(box: Box, tmp_path: Path) -> None:
    project = small_project(tmp_path / "sources", box.docker.state / "calls")
    done = call(box.docker, project / "scripts/appliance", "update", box.second())
    assert done.returncode == 1
    assert "git pull" in done.stderr
