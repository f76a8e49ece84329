"""The one move without a transaction of its own: jobs are accepted by one statement, which happens or does not."""

from __future__ import annotations

import inspect
import re

import psycopg
import pytest
from django.db import connection

from jobs import acceptance, inquiries, rescues, resolutions, transitions
from tests.jobs.transitions import builders as build

MOVES = (acceptance, transitions, rescues, resolutions, inquiries)
IDLE = psycopg.pq.TransactionStatus.IDLE


@pytest.mark.usefixtures("committed")
def test_a_job_is_accepted_by_one_statement(monkeypatch):
    owner, execute, before = build.an_owner(), psycopg.Cursor.execute, []

    def watched(cursor, *args, **kwargs):
        if isinstance(args[0], bytes):  # one of ours, and not the ORM's
            before.append(connection.connection.info.transaction_status)
        return execute(cursor, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    build.a_job(owner_id=owner.pk)

    assert before == [IDLE]
    assert connection.connection.info.transaction_status is IDLE


def test_no_other_move_may_come_late_and_a_look_moves_nothing():
    alone = [re.findall(r"@single_statement\ndef (\w+)", inspect.getsource(module)) for module in MOVES]

    assert alone == [["accept", "first_answers"], [], [], [], []]
