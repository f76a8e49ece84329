"""Moves without a transaction of their own: one statement, which happens or does not, and does no harm late."""

from __future__ import annotations

import inspect
import re

import psycopg
import pytest
from django.db import connection

from jobs import acceptance, chores, inquiries, rescues, resolutions, transitions
from tests.jobs.transitions import builders as build

MOVES = (acceptance, chores, transitions, rescues, resolutions, inquiries)
IDLE = psycopg.pq.TransactionStatus.IDLE


@pytest.fixture
def transactions(committed, monkeypatch) -> list[psycopg.pq.TransactionStatus]:
    """In which state each of our statements finds the connection."""
    execute, found = psycopg.Cursor.execute, []

    def watched(cursor, *args, **kwargs):
        if isinstance(args[0], bytes):  # one of ours, and not the ORM's
            found.append(connection.connection.info.transaction_status)
        return execute(cursor, *args, **kwargs)

    build.an_owner()
    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    return found


def test_a_job_is_accepted_claimed_and_let_in_by_one_statement_each(transactions):
    build.gate(build.claimed())

    assert transactions == [IDLE] * 3
    assert connection.connection.info.transaction_status is IDLE


def test_no_other_move_may_come_late_and_a_look_moves_nothing():
    alone = [re.findall(r"@single_statement\ndef (\w+)", inspect.getsource(module)) for module in MOVES]

    assert alone == [["accept", "first_answers"], [], ["claim", "_settle_duplicates", "_let_in"], [], [], []]


def test_a_claim_that_comes_late_costs_its_job_nothing(committed):
    """Its worker has given up on the answer, and finds it when it sweeps."""
    job = build.a_job()
    transitions.claim([job], worker=build.WORKER)

    rescues.sweep(build.WORKER, rescues.own_running(build.WORKER))

    (again,) = transitions.claim([job], worker=build.WORKER)
    assert (again.attempt, again.deaths) == (1, 0)


def test_a_row_of_the_gate_that_comes_late_finds_its_claim_gone(committed):
    claim = build.claimed()
    transitions.put_back([claim], wait_seconds=1.0)

    assert build.gate(claim).admitted == set()
    assert build.sql("SELECT count(*) FROM jobs_delivery") == [(0,)]
