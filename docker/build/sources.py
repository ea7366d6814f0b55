"""Fetches the source archives that sources.list names, each checked against its SHA-256."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin

from pip._internal.models.index import PyPI

_DEADLINE_S = 120


def debian_mirror(apt: Path) -> str:
    """The mirror that a Debian fetches its packages from, read from its folder ``/etc/apt``."""
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found := re.search(r"^(?:deb|URIs:)\s+(?:\[.*?\]\s+)?(\S+)", text, re.MULTILINE):
            return found[1]
    sys.exit(f"{apt} names no mirror of Debian: give one with DEBIAN_MIRROR.")


def locked(lock: Path, name: str) -> tuple[str, set[str]]:
    """Version and hashes of a package in a requirements file."""
    text = lock.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(name)}==(\S+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"{name} is not in {lock}: sources.list names it without a version.")
    return found[1], set(re.findall(r"sha256:([0-9a-f]{64})", found[2]))


def source_archive(index: str, name: str, version: str) -> str:
    """The address of a package's source archive, as its index page gives it."""
    page = f"{index.rstrip('/')}/{name}/"
    stem = re.compile(rf"{re.sub('[-_.]+', '[-_.]+', name)}-{re.escape(version)}\.tar\.gz", re.I)
    for link in re.findall(r'href="([^"#]+)', fetch(page).decode()):
        if stem.fullmatch(unquote(link.rsplit("/", 1)[-1])):
            return str(urljoin(page, link))
    sys.exit(f"The package index has no source archive of {name} {version}.")


def fetch(address: str) -> bytes:
    """What lies there."""
    with urllib.request.urlopen(address, timeout=_DEADLINE_S) as answer:  # noqa: S310
        return bytes(answer.read())


def wanted(listing: Path, lock: Path, index: str, mirror: str) -> Iterator[tuple[str, set[str]]]:
    """Address and possible hashes of each archive."""
    for line in listing.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split("#")[0].split() or [""]
        if kind == "debian":
            yield f"{mirror.rstrip('/')}/{words[0]}", {words[1]}
        elif kind == "pypi":
            version, hashes = locked(lock, words[0]) if len(words) == 1 else (words[1], {words[2]})
            yield source_archive(index, words[0], version), hashes
        elif kind:
            sys.exit(f"{listing}: a line begins with pypi or debian, not with {kind!r}.")


def main() -> None:
    """Fetch them all, or end with what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--index", help="Python package index; pip's own when empty")
    parser.add_argument("--mirror", help="Debian mirror; the one of --apt when empty")
    parser.add_argument("--apt", type=Path, required=True, help="a Debian's /etc/apt")
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    index = given.index or PyPI.simple_url
    mirror = given.mirror or debian_mirror(given.apt)
    for address, hashes in wanted(given.list, given.lock, index, mirror):
        content = fetch(address)
        if hashlib.sha256(content).hexdigest() not in hashes:
            sys.exit(f"checksum mismatch: {address} is not what is pinned here.")
        (given.into / unquote(address.rsplit("/", 1)[-1])).write_bytes(content)


if __name__ == "__main__":
    main()
