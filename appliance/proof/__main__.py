"""The proof's own programs; people run ``scripts/appliance prove-offline``.

ORDER.json                     in a network of its own: start the box under strace, call it, watch
alone                          leave this network without a route; needs the right to change it
inside FOLDER [--negative-control]   the whole of it in a container; the report goes to stdout
keep IMAGE DIGEST              take such a report from stdin into the data folder, and say it
"""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import os
import sys
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.proof.reports import as_text, keep, lines, proof_from
from appliance.settings import load_settings


def main(first: str, *more: str) -> int:
    """0: it holds; 1: it does not, or could not be held."""
    try:
        if first == "alone":
            return _alone()
        if first == "inside":
            return _inside(Path(more[0]), negative_control="--negative-control" in more)
        if first == "keep":
            return _keep(more[0], more[1], as_json="--json" in more)
    except ApplianceError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    from appliance.proof.watching import watch

    return watch(Path(first))


def _alone() -> int:
    from appliance.proof.room import require_no_way_out, take_routes_away

    take_routes_away()
    require_no_way_out()
    return 0


def _inside(folder: Path, *, negative_control: bool) -> int:
    from appliance.proof.inside import prove_here

    proof = prove_here(load_settings(), folder, negative_control=negative_control)
    sys.stdout.write(as_text(proof) + "\n")
    return 0 if proof.holds else 1


def _keep(image: str, digest: str, *, as_json: bool) -> int:
    try:
        proof = proof_from(sys.stdin.read())
    except ValueError as error:
        raise ApplianceError("no_report", "The proof ended without a report.") from error
    proof.kind, proof.image, proof.digest = "image", image, digest
    said = [as_text(proof)] if as_json else lines(proof)
    if not proof.negative_control:
        path = keep(load_settings(), proof)
        said += [] if as_json else [f"kept as {path}"]
    sys.stdout.write("\n".join(said) + "\n")
    return 0 if proof.holds else 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(*sys.argv[1:]))
