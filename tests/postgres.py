"""A real Postgres for tests: one server on a private socket, and for each test a database of its own."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from appliance.store import upgrade
from tests.waiting import until

USER, PASSWORD = "earshot", "tide/rock@moss%41"
_PASSWORD_IN_URL = "tide%2Frock%40moss%2541"
# Postgres refuses to run as root.
_NOBODY = "nobody"
_LEAST_MEMORY = 1 << 30
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Server:
    """A running server; its folder goes with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._template = ""

    @property
    def tables(self) -> Path:
        """Where the server keeps what is in the tables."""
        return self.folder / "data" / "base"

    def url(self, database: str, password: str = _PASSWORD_IN_URL) -> str:
        """As an owner writes it."""
        return f"postgresql://{USER}:{password}@/{database}?host={self.folder}"

    def database(self, *, tables: bool = True) -> str:
        """A new database's URL; with or without the store's tables."""
        if tables and not self._template:
            made = self.database(tables=False)
            upgrade(made)
            self._template = f"test{next(self._numbers) - 1}"
        name = f"test{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {self._template if tables else 'template0'}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database that ``database`` made, whoever is connected."""
        name = make_url(url).database
        self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, statement: str, database: str = "postgres") -> None:
        """One statement, as the administrator."""
        with psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_server() -> Iterator[Server]:
    """Start one, as somebody who is not root."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="earshot-pg-", dir=_place()) as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = pwd.getpwnam(_NOBODY)
            as_user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
            for path in (folder, folder / "password"):
                os.chown(path, who.pw_uid, who.pw_gid)
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256",
             f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd="/", **as_user,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            # No test stops the machine, so nothing need wait for the disk.
            server = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", "-k", folder,
                 "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off",
                 "-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "autovacuum=off",
                 "-c", "max_wal_size=64MB",
                 "-c", "dynamic_shared_memory_type=mmap"],
                stdout=log, stderr=log, cwd="/", preexec_fn=_end_with_parent, **as_user,  # noqa: PLW1509 - it is one call
            )  # fmt: skip
        try:
            running = Server(folder)
            until(running.answers, 60, f"Postgres in {folder}")
            yield running
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def _place() -> str | None:
    """Memory, where there is enough: a database is hundreds of files, and each test has one."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < _LEAST_MEMORY:
        return None
    return str(memory)


def _programs() -> Path:
    """Debian keeps them by version and out of the way."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    initdb = found[-1] if found else shutil.which("initdb")
    assert initdb, "no Postgres on this machine: apt-get install -y postgresql"
    return Path(initdb).resolve().parent


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
