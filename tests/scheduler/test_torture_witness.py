"""The witness in PostgreSQL remembers what the tables forget, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from jobs import chores, transitions
from jobs.models import Job
from jobs.states import Outcome
from scheduler.torture.witness import Away, Witness
from tests.jobs.transitions.builders import WORKER, a_job, claimed, marked, sent, settle, unknown
from tests.journeys.servers import current_database_url


@pytest.fixture
def witness(committed: None) -> Iterator[Witness]:
    witness = Witness(current_database_url)
    witness.install()
    yield witness
    witness.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA witness CASCADE")


def moves(witness: Witness) -> list[tuple[str, str]]:
    return [(move.old, move.new) for move in witness.moves()]


def steps(witness: Witness) -> list[tuple[str, str, int | None]]:
    return [(step.old, step.new, step.claim) for step in witness.steps()]


def test_every_move_of_a_job_and_its_delivery_is_on_record(witness):
    claim = sent()

    assert moves(witness) == [("", "queued"), ("queued", "running"), ("running", "completed")]
    assert steps(witness) == [
        ("", "claimed", claim.token),
        ("claimed", "dot", claim.token),
        ("dot", "sent", claim.token),
    ]
    running = witness.moves()[1]
    assert (running.job, running.claim, running.worker) == (str(claim.job_id), claim.token, str(WORKER))


def test_a_mark_that_was_overwritten_later_is_still_known(witness):
    first = marked()
    settle(first, Outcome.TRANSIENT)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET run_at = now()")
    chores.promote(limit=10)
    second = marked(claimed(first.job_id))

    assert [step.claim for step in witness.steps() if step.new == "dot"] == [first.token, second.token]


def test_what_is_rolled_back_was_never_seen(witness):
    with transaction.atomic():
        a_job()
        transaction.set_rollback(True)

    assert witness.moves() == []


def test_a_row_that_is_deleted_is_on_record(witness):
    Job.objects.filter(id=a_job()).delete()

    assert moves(witness) == [("", "queued"), ("queued", "")]


def test_each_heartbeat_tells_which_process_it_was(witness):
    for _ in range(2):
        transitions.beat(WORKER, name="a-host-7:4711", state="busy", in_flight=1, completed=0)

    assert [beat.worker for beat in witness.beats()] == [str(WORKER)] * 2
    assert [(hand.worker, hand.pid) for hand in witness.hands()] == [(str(WORKER), 4711)]


def test_the_tables_are_read_as_they_stand(witness):
    claim = unknown()

    (row,) = witness.rows()
    assert (row.id, row.status, row.claim, row.attempts) == (str(claim.job_id), "unknown", claim.token, 1)
    assert [(d.job, d.state, d.claim) for d in witness.deliveries()] == [(row.id, "unknown", claim.token)]
    assert [(attempt.claim, attempt.outcome) for attempt in witness.attempts()] == [(claim.token, "unknown")]
    assert witness.decisions() == []
    assert witness.standing() == {"unknown": 1}


def test_an_unknown_has_come_to_rest_and_a_running_job_has_not(witness):
    unknown()
    assert witness.unsettled() == 0
    before = witness.last()

    claimed()

    assert witness.unsettled() == 1
    assert witness.last() > before


def test_a_server_that_is_away_is_told_as_such(witness, postgres):
    postgres.go_away()
    with pytest.raises(Away):
        witness.standing()

    postgres.come_back()

    assert witness.standing() == {}
