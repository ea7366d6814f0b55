"""The bundle for a machine without internet: what it holds, and that no change to it goes unseen."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes_docker import (
    MODEL,
    TAG,
    Docker,
    call,
    call_at_terminal,
    fake_docker,
    seal,
    sign,
)
from tests.small_bundles import Made

pytestmark = pytest.mark.unit


@pytest.fixture
def made(bundle: Made, tmp_path: Path) -> Made:
    """A copy that may be spoilt."""
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    return Made(bundle.project, tmp_path / "bundle", bundle.key, bundle.stranger)


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return fake_docker(tmp_path / "bin")


# ---- what it holds -------------------------------------------------------------------------


def test_everything_that_an_installation_needs_is_in_it(bundle: Made) -> None:
    names = {
        str(path.relative_to(bundle.folder)) for path in bundle.folder.rglob("*") if path.is_file()
    }
    assert names >= {
        "image.tar.gz", "docker-compose.yml", "docker-compose.cpu.yml", "docker-compose.bridge.yml",
        "models/models.json", "models/large/model.gguf", "manifest.json", "sbom.cdx.json",
        "sources/sources.tar.gz", "scripts/appliance", "scripts/host/update", "install.sh",
        "README.md", "docs/operations.md", "LICENSE", "NOTICE", "SHA256SUMS", "SHA256SUMS.sig",
    }  # fmt: skip
    listed = {}
    for line in (bundle.folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        listed[name] = digest
    assert set(listed) == names - {"SHA256SUMS", "SHA256SUMS.sig"}
    assert listed["models/large/model.gguf"] == hashlib.sha256(MODEL).hexdigest()


def test_the_manifest_names_licence_size_digest_and_graphics_memory(bundle: Made) -> None:
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    image = bundle.folder / "image.tar.gz"
    assert manifest["version"] == "1.0"
    assert manifest["accel"] == "cpu"
    assert manifest["image_tag"] == TAG
    assert manifest["image_size"] == image.stat().st_size
    assert manifest["image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert "NOTICE" in manifest["image_licence"]
    (model,) = manifest["models"]
    assert (model["id"], model["licence"], model["vram"]) == ("large", "MIT", 1)


def test_the_installer_reads_no_other_file_before_it_has_checked_them(bundle: Made) -> None:
    text = (bundle.folder / "install.sh").read_text()
    before = text[: text.index('  verify_bundle "$bundle"')]
    sourced = [line for line in before.splitlines() if line.strip().startswith((". ", "source "))]
    assert sourced == []
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--external-sources", bundle.folder / "install.sh"],
        capture_output=True, text=True, check=False, cwd=bundle.project,
    )  # fmt: skip
    assert done.stdout == ""


def test_create_refuses_what_it_cannot_make_in_one_sentence(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    command = (bundle.project / "scripts/appliance", "bundle", "create")
    out = tmp_path / "new"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments, said in (
        (("--out", out, "--key", tmp_path / "nobody", "--image", TAG), "ssh-keygen -t ed25519"),
        (("--out", out, "--key", bundle.key, "--image", "earshot:none"), "scripts/image"),
        (("--out", out, "--key", bundle.key, "--image", "earshot"), "with its tag"),
        (("--out", tmp_path / "full", "--key", bundle.key, "--image", TAG), "new folder"),
        (("--out", out, "--key"), "--key needs a value"),
        (("--image", TAG), "usage"),
    ):
        done = call(docker, *command, *arguments)
        assert done.returncode in (1, 2)
        assert said in done.stderr
        assert done.stderr.count("\n") == 1 or said == "usage"
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))


def create(bundle: Made, docker: Docker, out: Path) -> subprocess.CompletedProcess[str]:
    """Make another bundle of the same image."""
    return call(
        docker, bundle.project / "scripts/appliance", "bundle", "create", "--key", bundle.key,
        "--image", TAG, "--out", out,
    )  # fmt: skip


def test_what_lies_where_the_bundle_is_made_is_not_deleted(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    theirs = tmp_path / "new.partial/letter"
    theirs.parent.mkdir()
    theirs.write_text("dear")
    done = create(bundle, docker, tmp_path / "new")
    assert done.returncode == 1
    assert "new.partial is there already" in done.stderr
    assert theirs.read_text() == "dear"


def test_an_image_that_changes_while_it_is_packed_is_not_shipped(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    docker.flag("rebuilt")
    done = create(bundle, docker, tmp_path / "new")
    assert done.returncode == 1
    assert "built anew" in done.stderr
    assert not (tmp_path / "new").exists()


# ---- what is done to it on its way ---------------------------------------------------------


def _flip(name: str) -> Callable[[Made], None]:
    def spoil(made: Made) -> None:
        path = made.folder / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return spoil


def _resign(made: Made) -> None:
    seal(made.folder, made.stranger)


def _swap_and_resign(made: Made) -> None:
    (made.folder / "scripts/host/preflight").write_text("evil\n")
    seal(made.folder, made.stranger)


def _extra(made: Made) -> None:
    (made.folder / "scripts/host/evil").write_text("evil\n")


def _hidden(made: Made) -> None:
    (made.folder / ".env").write_text("EARSHOT_IMAGE=evil:1\n")


def _missing(made: Made) -> None:
    (made.folder / "models/large/model.gguf").unlink()


def _folder(made: Made) -> None:
    (made.folder / "models/--checkpoint-action=exec=touch\n\x1b[2J").mkdir()


def _link(made: Made) -> None:
    path = made.folder / "manifest.json"
    shutil.move(path, made.folder.parent / "elsewhere.json")
    path.symlink_to(made.folder.parent / "elsewhere.json")


def _linked_folder(made: Made) -> None:
    path = made.folder / "models"
    shutil.move(path, made.folder.parent / "elsewhere")
    path.symlink_to(made.folder.parent / "elsewhere")


def _other_purpose(made: Made) -> None:
    sign(made.folder, made.key, "file")


def _unsigned(made: Made) -> None:
    (made.folder / "SHA256SUMS.sig").unlink()


def _no_signature(made: Made) -> None:
    (made.folder / "SHA256SUMS.sig").write_text("-----BEGIN SSH SIGNATURE-----\n")


def _list(line: str) -> Callable[[Made], None]:
    def spoil(made: Made) -> None:
        with (made.folder / "SHA256SUMS").open("a") as file:
            file.write(line.replace("@", "0" * 64))
        sign(made.folder, made.key)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_flip("manifest.json"), "manifest.json"),
        (_flip("image.tar.gz"), "image.tar.gz"),
        (_flip("models/large/model.gguf"), "models/large/model.gguf"),
        (_flip("models/models.json"), "models/models.json"),
        (_flip("scripts/host/preflight"), "scripts/host/preflight"),
        (_flip("docker-compose.yml"), "docker-compose.yml"),
        (_flip("sbom.cdx.json"), "sbom.cdx.json"),
        (_flip("SHA256SUMS"), "was changed"),
        (_flip("SHA256SUMS.sig"), "was changed"),
        (_resign, "signed by somebody else"),
        (_swap_and_resign, "signed by somebody else"),
        (_extra, "scripts/host/evil"),
        (_hidden, ".env"),
        (_folder, "not in its signed list"),
        (_missing, "models/large/model.gguf is missing"),
        (_link, "is a link"),
        (_linked_folder, "is a link"),
        (_other_purpose, "was changed"),
        (_unsigned, "not a whole one"),
        (_no_signature, "was changed"),
        (_list("@  ../../etc/passwd\n"), "line that is none"),
        (_list("@  a/../../b\n"), "which no bundle has"),
        (_list("@  manifest.json\n"), "twice"),
        (_list("@ *manifest.json\n"), "line that is none"),
        (_list("nonsense"), "line that is none"),
    ],
)
def test_a_change_is_found_before_anything_is_loaded(
    made: Made, docker: Docker, tmp_path: Path, spoil: Callable[[Made], None], said: str
) -> None:
    spoil(made)
    verify = (made.project / "scripts/appliance", "bundle", "verify", "--signer", made.signer)
    into = tmp_path / "box"
    install = ("bash", made.folder / "install.sh", "--signer", made.signer, "--into", into)
    for command in ((*verify, made.folder), install):
        done = call(docker, *command)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr
    assert docker.calls == []
    assert not into.exists()


@pytest.mark.parametrize(
    "name",
    ["scripts/host/preflight", "scripts/host/installing.sh", "manifest.json", "docker-compose.yml",
     "models/models.json"],
)  # fmt: skip
def test_what_is_changed_while_the_bundle_is_checked_is_not_used(
    made: Made, docker: Docker, tmp_path: Path, name: str
) -> None:
    (made.folder / "scripts/host/prove-offline").write_text("#!/bin/sh\n")
    (made.folder / "scripts/host/preflight").write_text("#!/bin/sh\n")
    seal(made.folder, made.key)
    # As a hand on a shared stick: once the last file is compared, one is another's.
    real = shutil.which("sha256sum")
    hook = docker.folder / "sha256sum"
    hook.write_text(
        f"""#!/bin/sh
        {real} "$@" || exit
        case $* in *--check*|*/verify.sh) echo evil >{made.folder / name} ;; esac
        """
    )
    hook.chmod(0o755)
    into = tmp_path / "box"
    done = call(docker, "bash", made.folder / "install.sh", "--signer", made.signer, "--into", into)
    assert (made.folder / name).read_text() == "evil\n"
    assert done.returncode == 0, done.stderr
    assert not any(path.read_bytes() == b"evil\n" for path in into.rglob("*") if path.is_file())
    with tarfile.open(docker.state / "imported.tar") as archive:
        assert b"evil" not in archive.extractfile("models.json").read()  # type: ignore[union-attr]


def test_a_flipped_byte_in_the_installer_is_found_by_it_too(
    made: Made, docker: Docker, tmp_path: Path
) -> None:
    path = made.folder / "install.sh"
    path.write_text(path.read_text().replace("needs no internet", "needs no Internet"))
    into = tmp_path / "box"
    for command in (
        (made.project / "scripts/appliance", "bundle", "verify", "--signer", made.signer,
         made.folder),
        ("bash", path, "--signer", made.signer, "--into", into),
    ):  # fmt: skip
        done = call(docker, *command)
        assert "install.sh in" in done.stderr
        assert "is not what was signed" in done.stderr
    assert docker.calls == []
    assert not into.exists()


# ---- who signed it -------------------------------------------------------------------------


def test_verify_names_version_and_key(made: Made, docker: Docker) -> None:
    done = call(
        docker, made.project / "scripts/appliance", "bundle", "verify", made.folder,
        "--signer", made.signer,
    )  # fmt: skip
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", made.signer], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert done.stdout.splitlines()[-1] == f"Earshot 1.0 (cpu), signed with {shown}."
    assert done.returncode == 0


def test_without_a_signer_and_a_terminal_nothing_is_taken_on_trust(
    made: Made, docker: Docker, tmp_path: Path
) -> None:
    done = call(docker, "bash", made.folder / "install.sh", "--into", tmp_path / "box")
    assert done.returncode == 1
    assert "--signer FILE" in done.stderr
    assert "SHA256:" in done.stderr
    assert docker.calls == []


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_whoever_does_not_know_the_fingerprint_stops(
    made: Made, docker: Docker, tmp_path: Path, answer: str
) -> None:
    code, shown = call_at_terminal(
        docker, answer, "bash", made.folder / "install.sh", "--into", tmp_path / "box"
    )
    assert code == 1
    assert "SHA256:" in shown
    assert docker.calls == []


def test_a_yes_goes_on_and_the_key_is_remembered(
    made: Made, docker: Docker, tmp_path: Path
) -> None:
    into = tmp_path / "box"
    code, shown = call_at_terminal(
        docker, "yes", "bash", made.folder / "install.sh", "--into", into
    )
    assert code == 0, shown
    assert (into / "signer.pub").read_text().split() == made.signer.read_text().split()[:2]


def test_a_private_key_is_no_signer(made: Made, docker: Docker) -> None:
    done = call(
        docker, made.project / "scripts/appliance", "bundle", "verify", made.folder,
        "--signer", made.key,
    )  # fmt: skip
    assert "ends in .pub" in done.stderr
    assert done.returncode == 1


def test_a_missing_tool_is_named(made: Made, tmp_path: Path) -> None:
    docker = fake_docker(tmp_path / "bin")
    for name in ("bash", "mktemp", "rm", "dirname"):
        (docker.folder / name).symlink_to(shutil.which(name) or "")
    done = subprocess.run(
        ["bash", made.folder / "install.sh"], env={"PATH": str(docker.folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "This machine lacks" in done.stderr
    assert "ssh-keygen" in done.stderr
    assert done.stderr.count("\n") == 1
    assert docker.calls == []
