"""What a proof found: kept in the data folder, read back for the panel, said to people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from appliance import logs
from appliance.files import write_whole
from appliance.settings import Settings

PROBES = frozenset({"8.8.8.8 port 53", "2001:4860:4860::8888 port 53"})
"""What libwebrtc, in LiveKit's client, asks the kernel for a route to; it cannot be told not to."""
WHY_PROBE = "known: libwebrtc finds this machine's own address by it, and sends nothing"
_FOLDER = "proofs"
_NAME = "offline-*.json"
_log = logs.get(__name__)


@dataclass
class Proof:
    """What was seen."""

    date: str
    version: str
    kind: Literal["native", "image"] = "native"
    """Whether the box was started from its folder, or as a container of its image."""
    image: str = ""
    """The image's name, where it was one."""
    digest: str = ""
    """The image's digest."""
    programs: list[str] = field(default_factory=list)
    seconds_watched: int = 0
    seconds_after_call: int = 0
    calls_traced: int = 0
    attempts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What the seal refused, so that the kernel was never asked."""
    stun: list[str] = field(default_factory=list)
    call: dict[str, Any] = field(default_factory=dict)
    switched: str = ""
    """Which model took the place of which; empty: no other model was there."""
    pages: int = 0
    """Pages of the panel that were looked at."""
    negative_control: bool = False
    """Whether programs tried to leave on purpose, so that the proof must fail."""
    problem: str = ""

    @property
    def unexpected(self) -> list[str]:
        """What was refused and has no known cause: somebody tried to leave."""
        return [one for one in self.refused if one not in PROBES]

    @property
    def holds(self) -> bool:
        """Whether a call was answered and nothing tried to leave."""
        answered = bool(self.call) and all(turn["answered"] for turn in self.call["turns"])
        return answered and not (self.attempts or self.unexpected or self.stun or self.problem)


def proof_from(text: str) -> Proof:
    """A report as it was written, by this version or another.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a report is a JSON object")  # noqa: TRY004 - as for any other text
    known = {one.name for one in fields(Proof)}
    try:
        return Proof(**{name: value for name, value in found.items() if name in known})
    except TypeError as error:
        raise ValueError("the report has no date") from error


def as_text(proof: Proof) -> str:
    """The report as JSON."""
    return json.dumps({**asdict(proof), "holds": proof.holds}, indent=1)


def keep(settings: Settings, proof: Proof) -> Path:
    """Write the report into the data folder; returns its path."""
    folder = settings.data_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"offline-{proof.date.replace(':', '')}.json"
    write_whole(path, as_text(proof))
    return path


def latest(settings: Settings) -> Proof | None:
    """The newest report that was kept; None if there is none."""
    # Their names hold their dates, all in UTC.
    for path in sorted((settings.data_dir / _FOLDER).glob(_NAME), reverse=True):
        try:
            return proof_from(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            _log.warning("proof_unreadable", file=path.name, error=type(error).__name__)
    return None


def lines(proof: Proof) -> list[str]:
    """The report for people."""
    verdict = "Nothing left the box." if proof.holds else "THE PROOF FAILED."
    turns = proof.call.get("turns", [])
    heard = "; ".join(turn["heard"] for turn in turns)
    answered = "; ".join(turn["answered"] for turn in turns)
    return [
        f"Offline proof of {proof.date}, Earshot {proof.version}",
        *([f"image             {proof.image}, {proof.digest}"] if proof.kind == "image" else []),
        f"programs          {', '.join(proof.programs) or 'none'}",
        f"watched           {proof.seconds_watched} s, {proof.seconds_after_call} s of them after the call",
        f"system calls seen {proof.calls_traced}",
        f"call              heard {heard!r}, answered {answered!r}",
        f"model switched    {proof.switched or 'no: there is no second one'}",
        f"panel pages read  {proof.pages}",
        f"attempts          {len(proof.attempts)}",
        *[f"  {attempt}" for attempt in proof.attempts],
        f"refused before    {len(proof.refused)} (by native/seal.c, before the kernel was asked)",
        *[f"  {one} ({WHY_PROBE if one in PROBES else 'UNEXPECTED'})" for one in proof.refused],
        f"public STUN/TURN  {', '.join(proof.stun) or 'none'}",
        *([f"problem           {proof.problem}"] if proof.problem else []),
        verdict,
    ]
