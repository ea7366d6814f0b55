"""The store's tests again, on Postgres: the same functions, and the database is another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import Server, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests."""
    with running_server() as server:
        yield server


@pytest.fixture
def database_url(postgres: Server) -> Iterator[str]:
    """A database that has the store's tables."""
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture
def empty_database_url(postgres: Server) -> Iterator[str]:
    """A database without a table."""
    url = postgres.database(tables=False)
    yield url
    postgres.drop(url)
