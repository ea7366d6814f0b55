"""Copies the licence texts of what is compiled or bundled: Go's modules and the page's npm packages.

Python's packages and Debian's carry theirs with them (dist-info/licenses, /usr/share/doc).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_TEXT = re.compile(r"(licen[cs]e|copying|notice|copyright|patents|unlicense)", re.IGNORECASE)


def go_modules(listing: Path, modules: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each module in the output of ``go version -m``."""
    for line in listing.read_text(encoding="utf-8").splitlines():
        row = line.split("\t")
        if len(row) > 3 and row[1] in ("mod", "dep", "=>"):
            # The module cache writes capitals so, for file systems that know none.
            name = re.sub("[A-Z]", lambda capital: "!" + capital[0].lower(), row[2])
            yield f"go/{row[2]}@{row[3]}", modules / f"{name}@{row[3]}"


def npm_packages(lock: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each package that the page is bundled from."""
    for path, entry in json.loads(lock.read_text(encoding="utf-8"))["packages"].items():
        if path and not entry.get("dev") and not entry.get("devOptional"):
            name = path.rsplit("node_modules/", 1)[-1]
            yield f"npm/{name}@{entry['version']}", lock.parent / path


def copy(found: Iterator[tuple[str, Path]], into: Path) -> int:
    """Copy each one's licence texts; returns how many had none."""
    without = 0
    for name, folder in found:
        texts = [path for path in folder.glob("*") if path.is_file() and _TEXT.match(path.name)]
        without += not texts
        for text in texts:
            (into / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, into / name / text.name)
    return without


def main() -> None:
    """Copy what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--go", type=Path, help="output of `go version -m`")
    parser.add_argument("--go-modules", type=Path, help="Go's module cache")
    parser.add_argument("--npm", type=Path, help="package-lock.json, node_modules beside it")
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    if given.go:
        print("without a text:", copy(go_modules(given.go, given.go_modules), given.into))  # noqa: T201
    if given.npm:
        print("without a text:", copy(npm_packages(given.npm), given.into))  # noqa: T201


if __name__ == "__main__":
    main()
