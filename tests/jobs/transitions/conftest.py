"""After every test of a move the books must balance: K1 and K2, and nothing sent twice, whatever was played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from jobs.audit import audit
from tests.jobs.transitions import observer


@pytest.fixture(autouse=True)
def balanced_books(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("django_db")
    if marker is None or "unaudited" in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db" if marker.kwargs.get("transaction") else "db")
    yield
    assert [finding for finding in audit() if not finding.is_ok] == []


@pytest.fixture
def unaudited() -> None:
    """For tests that fill the tables with rows which no move ever made."""


@pytest.fixture
def eyes(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """The connection of an observer."""
    with observer.eyes() as connection:
        yield connection
