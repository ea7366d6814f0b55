"""The last offline proof, for programs."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from appliance.proof.reports import Proof, latest
from appliance.settings import Settings

router = APIRouter(prefix="/api/v1/proof", tags=["proof"])


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Exchange(_Row):
    """What was said in the proof's call."""

    heard: str
    answered: str


class ProofView(_Row):
    """What was seen while a box was called in a network without a way out."""

    date: str = Field(description="ISO 8601, UTC.")
    version: str = Field(description="Of Earshot.")
    kind: Literal["native", "image"]
    image: str = Field(description="The image's name; empty for a native box.")
    digest: str = Field(description="The image's digest; empty for a native box.")
    holds: bool = Field(description="Whether a call was answered and nothing tried to leave.")
    programs: list[str]
    seconds_watched: int
    seconds_after_call: int
    calls_traced: int = Field(description="System calls that could send something, all looked at.")
    attempts: list[str] = Field(description="Tries to reach an address outside the box.")
    refused: list[str] = Field(description="What the box's own seal refused before it was tried.")
    unexpected: list[str] = Field(
        description="Those of `refused` without a known cause: the proof fails for each."
    )
    stun: list[str] = Field(description="Public STUN and TURN servers that callers were told of.")
    exchanges: list[Exchange]
    switched: str = Field(
        description="Which model gave way to which; empty: there was no second one."
    )
    pages: int = Field(description="Pages of the panel that were read.")
    problem: str = Field(description="Why it could not be held to its end; empty if it was.")


@router.get("")
async def last_proof(request: Request) -> ProofView | None:
    """The last proof that was held; null if there is none."""
    return await proof_of(request)


async def proof_of(request: Request) -> ProofView | None:
    """The last proof of this box."""
    settings: Settings = request.app.state.settings
    return await asyncio.to_thread(lambda: _view(latest(settings)))


def _view(proof: Proof | None) -> ProofView | None:
    if proof is None:
        return None
    exchanges = [
        Exchange(heard=str(turn.get("heard", "")), answered=str(turn.get("answered", "")))
        for turn in proof.call.get("turns", [])
    ]
    return ProofView(
        date=proof.date, version=proof.version, kind=proof.kind, image=proof.image,
        digest=proof.digest, holds=proof.holds, programs=proof.programs,
        seconds_watched=proof.seconds_watched, seconds_after_call=proof.seconds_after_call,
        calls_traced=proof.calls_traced, attempts=proof.attempts, refused=proof.refused,
        unexpected=proof.unexpected, stun=proof.stun, exchanges=exchanges,
        switched=proof.switched, pages=proof.pages, problem=proof.problem,
    )  # fmt: skip
