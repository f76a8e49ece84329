"""The tables themselves: migrations run both ways, match the models, and refuse the impossible."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from jobs.models import Attempt, DeadLetter, Delivery, Job, Schedule, Worker
from tests.jobs.transitions.builders import a_job, claimed, failed, gated, marked, sent, set_job, sql, unknown


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_migrations_run_forwards_back_to_nothing_and_forwards_again():
    ours = {model._meta.db_table for model in (Job, Delivery, Attempt, DeadLetter, Schedule, Worker)}

    call_command("migrate", "jobs", "zero", verbosity=0)
    try:
        assert not ours & set(connection.introspection.table_names())
        assert sql("SELECT to_regclass('claims')") == [(None,)]
    finally:
        call_command("migrate", "jobs", verbosity=0)

    assert ours <= set(connection.introspection.table_names())
    assert claimed()


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say():
    out = StringIO()

    call_command("makemigrations", "--check", "--dry-run", stdout=out)

    assert "No changes detected" in out.getvalue()


@pytest.mark.django_db
def test_the_database_knows_the_indexes_that_the_statements_need():
    names = {name for (name,) in sql("SELECT indexname FROM pg_indexes WHERE tablename LIKE 'jobs_%%'")}

    assert names >= {"job_due", "job_waiting", "job_running", "job_unknown", "job_finished", "job_idempotency_key"}


def refuses(constraint: str):
    return pytest.raises(IntegrityError, match=constraint)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("build", "columns", "constraint"),
    [
        (a_job, {"status": "lost"}, "job_status_known"),
        (a_job, {"priority": "urgent"}, "job_priority_known"),
        (a_job, {"on_unknown": "guess"}, "job_on_unknown_known"),
        (a_job, {"status": "completed"}, "job_final_has_its_time"),
        (sent, {"status": "queued"}, "job_final_has_its_time"),
        (sent, {"finished_at": None}, "job_final_has_its_time"),
        (a_job, {"status": "running"}, "job_running_has_claim"),
        (claimed, {"worker": None}, "job_running_has_claim"),
        (claimed, {"claim": None}, "job_running_has_claim"),
        (a_job, {"held_behind": "00000000-0000-7000-8000-000000000000"}, "job_held_is_unknown"),
        (failed, {"owner_id": None}, "owner_id"),
    ],
)
def test_an_impossible_job_is_refused(build, columns, constraint):
    of = build()

    with refuses(constraint), transaction.atomic():
        set_job(of, **columns)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("build", "columns", "constraint"),
    [
        (gated, {"state": "maybe"}, "delivery_state_known"),
        (gated, {"claim": None}, "delivery_live_has_claim"),
        (marked, {"claim": None}, "delivery_live_has_claim"),
        (unknown, {"claim": None}, "delivery_live_has_claim"),
        (marked, {"dot_at": None}, "delivery_marked_has_time"),
        (gated, {"state": "dot"}, "delivery_marked_has_time"),
    ],
)
def test_an_impossible_delivery_is_refused(build, columns, constraint):
    build()

    with refuses(constraint), transaction.atomic():
        Delivery.objects.update(**columns)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"reason": "bad luck"}, "deadletter_reason_known"),
        ({"resolution": "drop"}, "deadletter_resolution_has_time"),
        ({"resolved_at": "2030-01-01T00:00:00Z"}, "deadletter_resolution_has_time"),
    ],
)
def test_an_impossible_dead_letter_is_refused(columns, constraint):
    unknown()

    with refuses(constraint), transaction.atomic():
        DeadLetter.objects.update(**columns)


@pytest.mark.django_db
def test_an_episode_has_one_dead_letter():
    unknown()
    dead = DeadLetter.objects.get()
    dead.pk = None

    with refuses("deadletter_once_per_episode"), transaction.atomic():
        dead.save()


@pytest.mark.django_db
def test_a_key_has_one_delivery():
    first = sent(key="k")

    with refuses("jobs_delivery_pkey"), transaction.atomic():
        sql(
            "INSERT INTO jobs_delivery (dedupe_hash, job_id, state, claimed_at) VALUES (%s, %s, 'released', now())",
            *(first.dedupe_hash, first.job_id),
        )


@pytest.mark.django_db
def test_an_open_idempotency_key_has_one_job_and_the_second_is_told_so():
    a_job(idempotency_key="k")

    with pytest.raises(AssertionError):
        a_job(idempotency_key="k")

    assert Job.objects.filter(idempotency_key="k").count() == 1


@pytest.mark.django_db
def test_an_owner_of_jobs_is_not_deleted():
    a_job()

    with refuses("auth_user"), transaction.atomic():
        sql("DELETE FROM auth_user")
        sql("SET CONSTRAINTS ALL IMMEDIATE")
