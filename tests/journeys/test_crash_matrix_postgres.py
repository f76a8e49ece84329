"""The crash matrix (DESIGN §4.8) around PostgreSQL, on a server that may be stopped: no mark, no dot."""

from __future__ import annotations

import itertools
import signal
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection
from rest_framework_simplejwt.tokens import AccessToken

from jobs.models import DeadLetter, Delivery, Job
from scheduler.embedded.faulty_smtp import AFTER_DATA, AFTER_DOT
from tests.journeys import servers

pytestmark = pytest.mark.slow

BODY = {"type": "email", "payload": {"to": "bob@example.com", "subject": "Your order", "text": "It is on its way."}}

_numbers = itertools.count()


@pytest.fixture
def database_url(postgres, django_db_blocker):
    url = servers.fresh_database(postgres, f"journey{next(_numbers)}")
    with servers.database_at(url), django_db_blocker.unblock():
        yield url


@contextmanager
def commits_that_wait(postgres):
    """Commits are written and then wait for a standby that does not exist; afterwards they are answered."""
    with psycopg.connect(postgres.url(), autocommit=True) as administrator:
        administrator.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        administrator.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            administrator.execute("ALTER SYSTEM RESET synchronous_standby_names")
            administrator.execute("SELECT pg_reload_conf()")


def start_again(postgres):
    postgres.start()
    connection.close()  # this process's own is dead


def waiting_commits() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'"
        )
        return cursor.fetchone()[0]


def test_a_worker_that_dies_between_mark_and_dot(platform, smtp, postgres):
    platform.shorten_lease()
    invitation = smtp.hold(AFTER_DATA)
    job_id = platform.accept()
    worker = platform.start_worker()
    platform.until(lambda: invitation.is_reached)

    with commits_that_wait(postgres):
        platform.until(lambda: waiting_commits() == 1)  # the heartbeat's
        invitation.release()
        platform.until(lambda: waiting_commits() == 2)  # and the mark's
        worker.kill()
    platform.start_scheduler()
    platform.until_status("unknown", job_id)

    assert (smtp.dots, smtp.accepted) == (0, [])
    assert DeadLetter.objects.get().reason == "unknown"
    assert Delivery.objects.get().dot_at is not None
    platform.assert_books_balance()


def test_postgresql_is_away_when_the_mark_is_due(platform, smtp, postgres, owner):
    _, client = platform.start_api()
    client.headers["Authorization"] = f"Bearer {AccessToken.for_user(owner)}"
    invitation = smtp.hold(AFTER_DATA)
    job_id = platform.accept()
    worker = platform.start_worker()
    scheduler = platform.start_scheduler()
    platform.until(lambda: invitation.is_reached)

    postgres.stop_at_once()
    invitation.release()
    platform.until(lambda: smtp.unfinished)
    platform.until(lambda: platform.said(scheduler, "postgres_away"))
    refused = client.post("/addJob", json=BODY)
    dots_meanwhile = smtp.dots
    start_again(postgres)
    platform.until_status("completed", job_id)

    assert dots_meanwhile == 0
    assert platform.said(worker, "mark_uncertain")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "Retry-After" in refused.headers
    assert (Job.objects.count(), len(smtp.accepted)) == (1, 1)
    platform.assert_books_balance()


def test_postgresql_is_away_when_the_reply_comes(platform, smtp, postgres):
    reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()
    worker = platform.start_worker()
    platform.start_scheduler()
    platform.until(lambda: reply.is_reached)

    postgres.stop_at_once()
    reply.release()
    platform.until(lambda: platform.said(worker, "postgres_away"))
    start_again(postgres)
    platform.until_status("completed", job_id)

    assert (len(smtp.accepted), platform.outcomes(job_id)) == (1, ["sent"])
    platform.assert_books_balance()


def test_a_worker_killed_while_postgresql_is_away_leaves_its_replies_to_the_next_one(platform, smtp, postgres):
    reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()
    worker = platform.start_worker()
    platform.until(lambda: reply.is_reached)

    postgres.stop_at_once()
    reply.release()
    platform.until(lambda: platform.said(worker, "postgres_away"))
    worker.kill()
    start_again(postgres)
    platform.start_worker()
    platform.until_status("completed", job_id)

    assert platform.outcomes(job_id) == ["sent"], "before anybody missed the worker"
    assert not DeadLetter.objects.exists()
    assert len(smtp.accepted) == 1
    platform.assert_books_balance()


def test_a_worker_told_to_stop_while_postgresql_is_away_goes_and_leaves_its_replies(platform, smtp, postgres):
    platform.shorten_lease()
    platform.env["DRAIN_SECONDS"] = "1"  # as long it waits for PostgreSQL to come back
    reply = smtp.hold(AFTER_DOT)
    job_id = platform.accept()
    worker = platform.start_worker()
    platform.until(lambda: reply.is_reached)

    postgres.stop_at_once()
    reply.release()
    platform.until(lambda: platform.said(worker, "postgres_away"))
    worker.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: worker.returncode is not None)
    start_again(postgres)
    platform.start_scheduler()
    platform.until_status("unknown", job_id)
    platform.start_worker()
    platform.until_status("completed", job_id)

    assert worker.returncode == 0
    assert (len(smtp.accepted), DeadLetter.objects.get().resolution) == (1, "late_reply")
    platform.assert_books_balance()


def test_postgresql_is_restarted_while_hundreds_are_under_way(platform, smtp, postgres):
    platform.start_worker("--concurrency", "16")
    platform.start_scheduler()
    platform.accept_many(300)

    platform.until(lambda: len(smtp.accepted) >= 30)
    postgres.stop_at_once()
    start_again(postgres)
    platform.until_status("completed")

    assert len(smtp.accepted) == 300
    assert not DeadLetter.objects.exists()
    platform.assert_books_balance()
