"""Providers that go away, refuse, or take only so much: jobs wait, or go by another, and none is sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from jobs.models import Attempt, DeadLetter, Job
from scheduler.embedded.faulty_smtp import FaultySmtp
from tests.conftest import until

pytestmark = pytest.mark.slow


@pytest.fixture
def backup() -> Iterator[FaultySmtp]:
    server = FaultySmtp()
    server.start()
    yield server
    server.stop()


def provided(platform, smtp, backup) -> None:
    main, second = (f"smtp://127.0.0.1:{server.port}" for server in (smtp, backup))
    platform.env["EMAIL_PROVIDERS"] = f"main={main}?then=backup,backup={second}"


def times_opened(platform, workers) -> int:
    return sum(len(platform.said(worker, "circuit_opened")) for worker in workers)


def test_while_the_provider_is_away_jobs_wait_and_none_is_given_up(platform, smtp):
    """By their attempts alone they would all be dead letters after little more than a second."""
    platform.env["CIRCUIT_OPEN_SECONDS"] = "1.5"
    smtp.stop()
    workers = [platform.start_worker(), platform.start_worker()]
    platform.start_scheduler()

    jobs = platform.accept_many(40, max_attempts=5)
    platform.until(lambda: times_opened(platform, workers) >= 3)  # once, and after two trials
    assert not DeadLetter.objects.exists()
    smtp.start()
    platform.until_status("completed", *jobs)

    assert all(platform.copies(job) == 1 for job in jobs)
    failed = Attempt.objects.filter(outcome="transient").count()
    assert failed == sum(Job.objects.values_list("attempts", flat=True)) - len(jobs), "who only waited spent nothing"
    assert failed <= 20, "those that found out, and the trials"
    platform.assert_books_balance()


def test_what_the_provider_provably_did_not_take_goes_by_the_next(platform, smtp, backup):
    refusing = {"busy@example.com": "451 4.3.0 Busy", "spam@example.com": "554 5.7.1 Spam"}
    smtp.at_dot = lambda mail: refusing.get(mail.recipients[0])
    provided(platform, smtp, backup)
    platform.start_worker()

    fine, busy, spam = (platform.accept(f"{who}@example.com") for who in ("fine", "busy", "spam"))
    platform.until_status("completed", fine, busy)
    platform.until_status("failed", spam)

    assert [mail.recipients for mail in smtp.accepted] == [("fine@example.com",)]
    assert [mail.recipients for mail in backup.accepted] == [("busy@example.com",)]
    assert platform.job(busy).result["provider"] == "backup"
    assert platform.outcomes(busy) == ["transient", "sent"]
    assert platform.job(busy).attempts == 1
    platform.assert_books_balance(backup)


def test_when_the_provider_goes_away_all_go_by_the_next(platform, smtp, backup):
    provided(platform, smtp, backup)
    smtp.stop()
    worker = platform.start_worker()

    jobs = platform.accept_many(30)
    platform.until_status("completed", *jobs)

    took = Counter(mail.recipients for mail in backup.accepted)
    assert len(took) == 30
    assert set(took.values()) == {1}
    assert platform.said(worker, "circuit_opened")
    assert set(Job.objects.values_list("attempts", flat=True)) == {1}
    platform.assert_books_balance(backup)


def test_a_domain_is_sent_no_more_than_it_may_be_however_many_workers_there_are(platform, smtp):
    platform.env["DOMAIN_RATES"] = "example.com=10/s"
    platform.start_worker()
    platform.start_worker()
    platform.start_scheduler()

    jobs = platform.accept_many(40)
    elsewhere = platform.accept("eve@example.org")
    platform.until_status("completed", *jobs, elsewhere)

    began = Job.objects.order_by("created_at").first().created_at
    ended = sorted(Attempt.objects.filter(job_id__in=jobs).values_list("ended_at", flat=True))
    for number, at in enumerate(ended, start=1):
        assert (at - began).total_seconds() >= (number - 10) / 10, f"{number} of them: ten at once, then ten a second"
    assert set(Job.objects.values_list("attempts", flat=True)) == {1}
    assert len(smtp.accepted) == 41
    platform.assert_books_balance()


def test_jobs_that_wait_for_a_provider_say_so(platform, smtp):
    smtp.stop()
    worker = platform.start_worker()
    jobs = platform.accept_many(10)

    until(lambda: len(platform.said(worker, "job_postponed")) >= 3, within=30.0)
    assert {line["reason"] for line in platform.said(worker, "job_postponed")} == {"circuit_open"}
    platform.until_status("scheduled", *jobs)
