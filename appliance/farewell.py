"""Before the box stops: the panel tells every caller, and ends their calls."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus

from appliance.errors import BadSettings
from appliance.secrets import known_local_token
from appliance.settings import Settings

WITHIN_S = 12.0
_EVERY_S = 0.2
_ANSWER_S = 3.0


def bid_farewell(settings: Settings, hurried: Callable[[], bool]) -> None:
    """Wait until no call is open; not for long, not where no panel answers, and not if ``hurried``."""
    until = time.monotonic() + WITHIN_S
    while not hurried() and time.monotonic() < until and _calls_left(settings):
        time.sleep(_EVERY_S)


def _calls_left(settings: Settings) -> int:
    """Ask the panel to end all calls; how many are still open, 0 where there is no panel."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    panel = http.client.HTTPConnection("localhost", timeout=_ANSWER_S)
    panel.sock = line
    with closing(panel):
        try:
            line.settimeout(_ANSWER_S)
            line.connect(str(settings.socket("panel")))
            token = known_local_token(settings)
            panel.request(
                "POST", "/internal/v1/farewell", headers={"Authorization": f"Bearer {token}"}
            )
            answer = panel.getresponse()
            said = answer.read()
            # Whoever answers is there, even one that cannot see at this moment who still talks.
            return int(json.loads(said)["open"]) if answer.status == HTTPStatus.OK else 1
        except TimeoutError:
            # It is there and busy: it has not answered yet.
            return 1
        except (OSError, http.client.HTTPException, ValueError, LookupError, BadSettings):
            # A panel that is gone can tell nobody.
            return 0
