"""What every test gets: a declared category, and ports that are free."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.leaving import leave
from tests.box import Box, running_box

# A shell that starts us in the background has us ignore Ctrl-C, and our children with us; tests
# that press it would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Of pytest-xdist; one, if it is not there.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_STATUS = pytest.StashKey[int]()
CATEGORIES = ("unit", "services", "e2e", "browser", "chaos", "security", "image")


def category_of(marks: list[str]) -> str | None:
    """The one category among a module's marks, or None when there is none or more than one."""
    found = [name for name in marks if name in CATEGORIES]
    return found[0] if len(found) == 1 else None


def module_marks(module: object) -> list[str]:
    """Names in the module's own ``pytestmark``."""
    declared = getattr(module, "pytestmark", [])
    marks = declared if isinstance(declared, list) else [declared]
    return [mark.name for mark in marks]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run when a module does not say which kind of test it holds."""
    wrong = set()
    for item in items:
        module = getattr(item, "module", None)
        if module is not None and category_of(module_marks(module)) is None:
            wrong.add(str(Path(str(item.path)).relative_to(item.config.rootpath)))
    if wrong:
        raise pytest.UsageError(
            f"{', '.join(sorted(wrong))}: set pytestmark to exactly one of "
            f"pytest.mark.{{{'|'.join(CATEGORIES)}}} (and pytest.mark.nightly beside it if slow)"
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep what the run's exit code will be."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End a run that has called as a program that has called; pytest has said all by now."""
    # Workers of pytest-xdist still report to their controller.
    if (
        "livekit.rtc" in sys.modules
        and not hasattr(config, "workerinput")
        and _STATUS in config.stash
    ):
        leave(config.stash[_STATUS])


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that names a TCP port of 127.0.0.1 nobody listens on, another one each time."""
    given: set[int] = set()

    def pick() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            # The kernel gives mostly odd ones, so the workers share them by pairs.
            if port not in given and port // 2 % _WORKERS == _WORKER:
                given.add(port)
                return port

    return pick


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database that does not exist yet, in a folder that does not either: SQLite.

    tests/services/postgres runs the store's tests again, with this fixture its own.
    """
    return f"sqlite:///{tmp_path}/data/appliance.db"


@pytest.fixture
def empty_database_url(database_url: str) -> str:
    """The same, where a test needs one that surely has no tables."""
    return database_url


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """The whole box with the embedded models, started once for all tests that only use it."""
    yield from running_box(tmp_path_factory.mktemp("box"))
