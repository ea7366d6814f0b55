"""How soon a service is to answer."""

from __future__ import annotations

from typing import Literal, NamedTuple

Priority = Literal["live", "preemptive", "speculative", "interim"]
PRIORITY_HEADER = "X-Earshot-Priority"
ATTEMPT_HEADER = "X-Earshot-Attempt"


class Rank(NamedTuple):
    """How soon a request is to be served."""

    priority: Priority
    attempt: str = ""
    """Names the answer that it is a part of; a preemptive one is raised by it when its turn is over."""

    def headers(self) -> dict[str, str]:
        """As the services are told."""
        attempt = {ATTEMPT_HEADER: self.attempt} if self.attempt else {}
        return {PRIORITY_HEADER: self.priority, **attempt}


LIVE = Rank("live")
