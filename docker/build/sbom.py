"""What the image is made of, as CycloneDX: Debian's, Python's, npm's and Go's packages and the models."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

Component = dict[str, Any]


def component(kind: str, name: str, version: str, licence: str = "") -> Component:
    """A library with its package URL; ``kind`` is the URL's type (pypi, npm, golang, deb/debian)."""
    found: Component = {
        "type": "library",
        "bom-ref": f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe='')}",
        "name": name,
        "version": version,
    }
    found["purl"] = found["bom-ref"]
    if licence:
        found["licenses"] = [{"license": {"name": licence}}]
    return found


def python_packages(folder: Path) -> Iterator[Component]:
    """What is installed in a site-packages folder."""
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        about = distribution.metadata
        stated = [
            *(about.get_all("License-Expression") or []),
            *(
                line.rsplit(" :: ", 1)[-1]
                for line in about.get_all("Classifier") or []
                if line.startswith("License ::")
            ),
            "",
        ][0]
        yield component("pypi", about["Name"].lower().replace("_", "-"), about["Version"], stated)


def npm_packages(lock: Path) -> Iterator[Component]:
    """What the page's bundle is made of; nothing that only builds or tests it."""
    for path, entry in json.loads(lock.read_text(encoding="utf-8"))["packages"].items():
        if path and not entry.get("dev") and not entry.get("devOptional"):
            name = path.rsplit("node_modules/", 1)[-1]
            yield component("npm", name, entry["version"], entry.get("license", ""))


def go_modules(listing: Path) -> Iterator[Component]:
    """From the output of ``go version -m PROGRAM...``; a replaced module is listed as what it was replaced by."""
    rows = [line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines()]
    for row, following in zip(rows, [*rows[1:], [""]], strict=True):
        if not row[0]:
            replaced = len(following) > 1 and following[1] == "=>"
            if row[1] in ("mod", "dep", "=>") and not (row[1] == "dep" and replaced):
                yield component("golang", row[2], row[3])
        else:
            yield component("golang", "std", row[0].rsplit(" go", 1)[-1])


def debian_packages(status: Path, distribution: str) -> Iterator[Component]:
    """From dpkg's own list."""
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line[:40] and line[0] != " "
        )
        if fields.get("Status", "").endswith(" installed"):
            yield component(f"deb/{distribution}", fields["Package"], fields["Version"])


def models(catalogue: Path) -> Iterator[Component]:
    """The embedded models, a component for each of their files."""
    for entry in yaml.safe_load(catalogue.read_text(encoding="utf-8"))["models"]:
        if not entry.get("embedded"):
            continue
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{entry['id']}",
            "name": entry["id"],
            "version": entry["files"][0]["sha256"][:12],
            "licenses": [{"license": {"name": entry["licence"]}}],
            "components": [
                {
                    "type": "file",
                    "bom-ref": f"model:{entry['id']}/{file['name']}",
                    "name": file["name"],
                    "hashes": [{"alg": "SHA-256", "content": file["sha256"]}],
                }
                for file in entry["files"]
            ],
        }


def document(components: list[Component], version: str) -> dict[str, Any]:
    """The whole, the same for the same contents: no clock and no chance in it."""
    unique = {item["bom-ref"]: item for item in components}
    ordered = [unique[reference] for reference in sorted(unique)]
    digest = hashlib.sha256(json.dumps([version, ordered]).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": f"earshot@{version}",
                "name": "earshot",
                "version": version,
                "licenses": [{"license": {"name": "Apache-2.0 AND GPL-3.0-or-later"}}],
            }
        },
        "components": ordered,
    }


def main() -> None:
    """Write the document to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="site-packages")
    parser.add_argument("--npm", type=Path, required=True, help="package-lock.json")
    parser.add_argument("--go", type=Path, required=True, help="output of `go version -m`")
    parser.add_argument("--debian", type=Path, required=True, help="dpkg's status file")
    parser.add_argument("--distribution", default="debian")
    parser.add_argument("--models", type=Path, required=True, help="models.yaml")
    parser.add_argument("--version", required=True)
    given = parser.parse_args()
    found = [
        *python_packages(given.python),
        *npm_packages(given.npm),
        *go_modules(given.go),
        *debian_packages(given.debian, given.distribution),
        *models(given.models),
    ]
    print(json.dumps(document(found, given.version), indent=1, ensure_ascii=False))  # noqa: T201


if __name__ == "__main__":
    main()
