"""Nothing leaves the box: seen by strace in a namespace without a route, for a whole call."""

from __future__ import annotations

import pytest

from appliance.proof.proving import prove
from appliance.proof.traced import PUBLIC
from appliance.settings import Settings
from tests.box import PROGRAMS
from tests.recordings import knows_france
from tests.results import note

pytestmark = [pytest.mark.security, pytest.mark.timeout(700)]


@pytest.mark.alone
def test_a_whole_call_stays_on_the_box() -> None:
    proof = prove(Settings())
    note("offline proof", watched_s=proof.seconds_watched, calls=proof.calls_traced)
    assert proof.holds, proof
    assert set(PROGRAMS) <= set(proof.programs)
    assert proof.attempts == []
    # LiveKit's client must have been there to ask, or its known question proves nothing.
    assert "8.8.8.8 port 53" in proof.refused
    assert proof.seconds_after_call >= 35
    assert "gave way to" in proof.switched
    assert proof.pages >= 12
    assert proof.calls_traced > 100
    turn = proof.call["turns"][0]
    assert knows_france(turn["heard"], turn["answered"])


def test_one_packet_and_one_refusal_make_it_fail() -> None:
    proof = prove(Settings(), negative_control=True)
    assert not proof.holds
    assert not proof.problem
    assert proof.call["turns"][0]["answered"]
    assert len(proof.attempts) == 1
    assert "10.99.0.2 port 9" in proof.attempts[0]
    assert proof.unexpected == [f"{PUBLIC} port 9"]
