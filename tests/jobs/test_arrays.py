"""Arrays go to PostgreSQL packed, and come back as they were."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.postgres.arrays import Bigints, Booleans, Floats, Hashes, Integers, Texts, Uuids

pytestmark = pytest.mark.django_db

KINDS = {
    Uuids: ("uuid", st.uuids()),
    Bigints: ("bigint", st.integers(-(2**63), 2**63 - 1)),
    Integers: ("int", st.integers(-(2**31), 2**31 - 1)),
    Floats: ("float8", st.floats(allow_nan=False)),
    Booleans: ("bool", st.booleans()),
    Texts: ("text", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    Hashes: ("bytea", st.binary()),
}


def returned(values, type_):
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:  # as sql.run does: parameters are bound by the server
        cursor.execute(f"SELECT item FROM unnest(%s::{type_}[]) WITH ORDINALITY AS _(item, n) ORDER BY n", [values])
        return [item for (item,) in cursor.fetchall()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_goes_in_comes_out(kind):
    type_, values = KINDS[kind]

    @settings(max_examples=50, deadline=timedelta(seconds=5))
    @given(st.lists(st.none() | values, max_size=20))
    def comes_back(items):
        assert returned(kind(items), type_) == items

    comes_back()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_empty_one_is_empty(kind):
    assert returned(kind(), KINDS[kind][0]) == []


@pytest.mark.parametrize(
    "values",
    [Bigints([2**63]), Integers([2**31]), Bigints(["1"]), Floats(["x", None]), Texts(["\ud800"]), Hashes([7])],
    ids=lambda values: f"{type(values).__name__} {values!a}",
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(values):
    """By an error that the recorder takes for the row's own fault."""
    with pytest.raises((ValueError, TypeError)):
        returned(values, KINDS[type(values)][0])

    assert returned(Bigints([1]), "bigint") == [1]


def test_a_list_of_another_kind_is_written_as_before():
    assert returned([UUID(int=1), UUID(int=2)], "uuid") == [UUID(int=1), UUID(int=2)]
