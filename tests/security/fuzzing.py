"""Requests that nobody would write by hand, made from the API's own description.

``python -m tests.security.fuzzing 5000`` makes about that many, three of four signed in.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import requests
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from appliance.catalogue.pulling import PullEvent
from appliance.supervision import Supervisor
from services.panel.models.office import make_office
from tests.panel_app import Panel, box_settings, running_panel

BUSY = ("box_full", "not_ready")
"""The only reasons for which the box may say 503 to a request that it understood."""
_CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
_ANSWER_S = 20.0
schemathesis.serializer.alias("audio/wav", "application/octet-stream")


@dataclass
class Report:
    """What was seen."""

    asked: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0

    def fault(self, what: str, request: str) -> None:
        """Note the first request that showed this fault."""
        self.faults.setdefault(what, request)


class FakeSupervisord:
    """supervisord at its RPC: every program runs, whatever is asked of it."""

    def answer(
        self, _supervisor: Supervisor, method: str, *arguments: object, allowed: int = 0
    ) -> Any:
        """One RPC."""
        del allowed
        if method == "getAllProcessInfo":
            return [self._row(name) for name in ("panel", "stt", "llm", "tts", "agent")]
        if method == "getProcessInfo":
            return self._row(str(arguments[0]).rpartition(":")[2])
        return ["", 0, False] if method == "tailProcessStdoutLog" else True

    def _row(self, name: str) -> dict[str, Any]:
        return {"group": "earshot", "name": name, "statename": "STOPPED", "now": 9, "start": 1,
                "pid": 0, "spawnerr": ""}  # fmt: skip


def no_fetch(*_arguments: Any, **_options: Any) -> Iterator[PullEvent]:
    """A model that is fetched at once, and nothing is."""
    yield PullEvent("done")


def fuzz(cases: int, data_dir: Path) -> Report:
    """Make about so many requests, three of four signed in."""
    report = Report()
    office = partial(make_office, fetch=no_fetch)
    with patch.object(Supervisor, "_call", _call), start_blocking_portal() as portal:
        panel = running_panel(box_settings(data_dir), models=office)
        with portal.wrap_async_context_manager(panel) as running:
            _all(portal, running, cases, report)
    return report


def _call(supervisor: Supervisor, method: str, *arguments: object, allowed: int = 0) -> Any:
    return FakeSupervisord().answer(supervisor, method, *arguments, allowed=allowed)


def _all(portal: BlockingPortal, panel: Panel, cases: int, report: Report) -> None:
    document = portal.call(panel.http.get, "/api/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    each = cases / len(operations) / len(modes)
    for operation in operations:
        for mode in modes:
            # A stranger is mostly told to sign in, whatever is asked.
            for signed_in, share in ((True, 0.75), (False, 0.25)):
                send = partial(_send, portal, panel, signed_in, report)
                _ask(operation, mode, max(1, round(each * share)), send)


def _ask(operation: Any, mode: GenerationMode, count: int, send: Callable[[Any], None]) -> None:
    @seed(f"{operation.label}{mode}")
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        send(case)

    try:
        one()
    except Exception as error:
        # An operation without parameters cannot be asked wrongly.
        if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):
            raise


def _send(portal: BlockingPortal, panel: Panel, signed_in: bool, report: Report, case: Any) -> None:
    wanted = requests.Request(**case.as_transport_kwargs(base_url=str(panel.http.base_url)))
    try:
        prepared = wanted.prepare()
    except (ValueError, requests.RequestException):
        return  # no client could send it
    body: Any = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    headers: dict[str, Any] = {
        name: value
        for name, value in prepared.headers.items()
        if name.lower() not in ("authorization", "cookie", "host", "content-length")
    }
    if signed_in:
        headers["Authorization"] = panel.http.headers["Authorization"]
    who = "signed in" if signed_in else "a stranger"
    label = f"{who}: {prepared.method} {prepared.url} {prepared.headers} {body!r}"[:1500]
    try:
        request = httpx.Request(
            str(prepared.method), str(prepared.url), headers=headers, content=body
        )
    except (httpx.InvalidURL, ValueError):
        return
    if not signed_in:
        request.headers["X-Earshot-Client"] = "1"
    began = time.monotonic()
    answer = portal.call(partial(_answer, panel, request))
    report.slowest_s = max(report.slowest_s, time.monotonic() - began)
    report.asked += 1
    report.statuses[answer.status_code] += 1
    _judge(report, case, answer, f"{case.method} {case.path}", label)


async def _answer(panel: Panel, request: httpx.Request) -> httpx.Response:
    transport = httpx.ASGITransport(app=panel.app)
    async with httpx.AsyncClient(transport=transport, timeout=_ANSWER_S) as client:
        return await client.send(request)


def _judge(report: Report, case: Any, answer: httpx.Response, where: str, label: str) -> None:
    if answer.status_code >= 500:
        code = answer.json().get("error", {}).get("code") if _is_json(answer) else "no JSON"
        if answer.status_code != 503 or code not in BUSY:
            report.fault(f"{where}: {answer.status_code} {code}", label)
            return
    try:
        checks = _CHECKS if answer.status_code < 500 else _CHECKS[:1]
        case.validate_response(answer, checks=checks, excluded_checks=[not_a_server_error])
    except FailureGroup as group:
        for found in group.exceptions:
            report.fault(
                f"{where}: {answer.status_code} {type(found).__name__}", f"{label}\n{found}"
            )
    except Failure as found:
        report.fault(f"{where}: {answer.status_code} {type(found).__name__}", f"{label}\n{found}")


def _is_json(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).startswith("application/json")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = fuzz(count, Path(folder) / "data")
    for what, request in seen.faults.items():
        sys.stdout.write(f"FAULT {what}\n   {request}\n")
    sys.stdout.write(f"{seen.asked} requests in {time.monotonic() - started:.0f} s, {len(seen.faults)} faults, "
          f"slowest {seen.slowest_s:.1f} s, answers {dict(sorted(seen.statuses.items()))}\n")  # fmt: skip
    sys.exit(bool(seen.faults))
