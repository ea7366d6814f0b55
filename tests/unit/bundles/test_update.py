"""Updating to the next bundle: the order of things, and the way back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes_docker import (
    TAG,
    call,
    make_key,
    repack,
    seal,
    small_project,
    start,
)
from tests.small_bundles import HEALTHY, Box, order
from tests.waiting import until

pytestmark = pytest.mark.unit

BROKEN = "exited none 0 70"
LOOPING = "restarting starting 3 1"
NEW = "earshot:2.0"


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


def other_list(bundle: Path, key: Path) -> Path:
    """The bundle, placing EXTRA and no NOTICE."""
    path = bundle / "scripts/host/installing.sh"
    text = path.read_text()
    assert "LICENSE NOTICE" in text
    path.write_text(text.replace("LICENSE NOTICE", "LICENSE EXTRA"))
    (bundle / "NOTICE").unlink()
    (bundle / "EXTRA").write_text("new\n")
    seal(bundle, key)
    return bundle


def test_what_is_placed_is_the_new_versions_to_say(box: Box) -> None:
    done = box.update(other_list(box.second(), box.bundle.key))
    assert done.returncode == 0, done.stderr
    assert (box.root / "EXTRA").read_text() == "new\n"
    assert not (box.root / "NOTICE").exists()
    assert box.runs == "sha256:two"


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_new_versions_list_is_taken_back_with_it(box: Box, cut_off: bool) -> None:
    second = other_list(box.second(BROKEN), box.bundle.key)
    if cut_off:
        box.docker.flag("kill-up")
        assert box.update(second).returncode == -9
        assert (box.root / "EXTRA").exists()
        assert box.update("--roll-back").returncode == 0
    else:
        assert box.update("--wait", "1", second).returncode == 1
    assert box.is_as_before()
    assert not (box.root / "EXTRA").exists()
    assert (box.root / "NOTICE").read_bytes() == (box.bundle.folder / "NOTICE").read_bytes()


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
    shutil.copytree(box.bundle.folder, folder)
    repack(folder, box.bundle.key, "1.0", "sha256:two", BROKEN)
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
    shutil.copytree(box.bundle.folder, third)
    repack(third, box.bundle.key, "3.0", "sha256:three", HEALTHY)
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


def test_no_line_of_a_settings_file_that_cannot_be_read_is_lost(box: Box) -> None:
    env = box.root / ".env"
    env.write_text("APPLIANCE_DATABASE_URL=postgresql://secret\n")
    env.chmod(0)
    script = (
        f"ROOT={box.root}; . {box.root}/scripts/host/lib.sh; . {box.root}/scripts/host/installing.sh; "
        "keep_setting EARSHOT_IMAGE earshot:3.0 || echo refused"
    )
    # Root, too, then reads only what its modes let it.
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*plain, "bash", "-c", script], capture_output=True, text=True, check=True
    )
    env.chmod(0o600)
    assert done.stdout == "refused\n"
    assert env.read_text() == "APPLIANCE_DATABASE_URL=postgresql://secret\n"
