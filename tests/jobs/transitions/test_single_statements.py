"""Moves without a transaction of their own: each is one statement, which happens or does not."""

from __future__ import annotations

import inspect
import re

import psycopg
import pytest
from django.db import connection

from jobs import transitions
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed")


def accept():
    build.an_owner()
    return build.a_job


def claim():
    job_id = build.a_job()
    return lambda: transitions.claim([job_id], worker=build.WORKER)


@pytest.mark.parametrize("prepared", [accept, claim])
def test_it_is_one_statement_and_committed(prepared, monkeypatch):
    move, statements = prepared(), []
    execute = psycopg.Cursor.execute

    def counting(cursor, *args, **kwargs):
        if isinstance(args[0], bytes):  # one of ours, and not the ORM's
            statements.append(connection.connection.info.transaction_status)
        return execute(cursor, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", counting)
        move()

    assert statements == [psycopg.pq.TransactionStatus.IDLE]
    assert connection.connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_no_other_move_is_said_to_be_one():
    said = re.findall(r"@single_statement\ndef (\w+)", inspect.getsource(transitions))
    assert said == ["accept", "claim"]
