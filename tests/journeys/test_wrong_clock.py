"""A process whose clock is wrong by an hour changes nothing: what is due, whose lease is over and what has expired is
PostgreSQL's to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection

from jobs.models import Attempt, Job, Worker
from scheduler.embedded.child import Child
from scheduler.embedded.faulty_smtp import AFTER_DATA, AFTER_DOT
from tests.jobs.transitions import builders as build
from tests.journeys.platform import Platform

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MOST = timedelta(minutes=10)  # that anything here takes: far less than what the clocks are wrong by
PASSWORD = "a long password"
OTHER_WORKER = build.OTHER_WORKER

each_way = pytest.mark.parametrize("hours", [1, -1], ids=["fast", "slow"])


class WrongClockPlatform(Platform):
    """Its processes of one kind live in another hour."""

    wrong: tuple[str, int] = ("", 0)  # which, and by how many hours

    def _start(self, name: str, *command: str) -> Child:
        if name == self.wrong[0]:
            command = ("-m", "tests.journeys.wrong_clock", str(self.wrong[1]), *command)
        return super()._start(name, *command)

    def told_time(self, child: Child) -> timedelta:
        """How far this process's clock, as it stands in its log, is ahead of ours."""
        self.until(lambda: [line for line in self.lines(child) if "timestamp" in line])
        line = next(line for line in self.lines(child) if "timestamp" in line)
        return datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)

    def assert_clock(self, name: str, child: Child) -> None:
        """It is wrong where it should be, so that these tests can fail, and right elsewhere."""
        hours = self.wrong[1] if name == self.wrong[0] else 0
        assert abs(self.told_time(child) - hours * HOUR) < MOST


@pytest.fixture
def platform(tmp_path, database_url, redis_url, smtp, owner):
    platform = WrongClockPlatform(
        tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        smtp=smtp,
        owner=owner,
        temporary=tmp_path,
    )
    yield platform
    platform.kill_all()


def now_in_postgres() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def an_old_job(age: timedelta, *, status: str = "cancelled", **columns) -> Job:
    """As PostgreSQL would remember it: accepted, and ended if so, that long ago."""
    job_id = build.a_job(owner_id=Job.owner.field.related_model.objects.get().pk, **columns)
    at = now_in_postgres() - age
    Job.objects.filter(pk=job_id).update(
        status=status, created_at=at, finished_at=at if status == "cancelled" else None, payload=None
    )
    return Job.objects.get(pk=job_id)


def body(to: str, **options) -> dict:
    return {"type": "email", "payload": {"to": to, "subject": "Your order", "text": "It is on its way."}, **options}


@each_way
@pytest.mark.parametrize("who", ["api", "worker", "scheduler"])
def test_everything_comes_at_its_time_and_nothing_is_forgotten_early(platform, smtp, owner, who, hours):
    platform.wrong = (who, hours)
    platform.env["MAX_ATTEMPTS"] = "100"  # refused as often as it takes for the others to come
    owner.set_password(PASSWORD)
    owner.save()
    smtp.rcpt_answers["later@example.com"] = "451 4.7.1 Come again"
    open_key = an_old_job(
        DAY - HOUR / 2, idempotency_key="yesterday", status="scheduled", run_at=now_in_postgres() + DAY
    )
    spent_key = an_old_job(DAY + HOUR / 2, idempotency_key="before", status="scheduled", run_at=now_in_postgres() + DAY)
    kept, pruned = an_old_job(30 * DAY - HOUR / 2), an_old_job(30 * DAY + HOUR / 2)
    for worker, age in ((build.WORKER, DAY - HOUR / 2), (OTHER_WORKER, DAY + HOUR / 2)):
        build.beat(worker)
        Worker.objects.filter(pk=worker).update(beat_at=now_in_postgres() - age)

    api, client = platform.start_api()
    worker, scheduler = platform.start_worker(), platform.start_scheduler()
    token = client.post("/login", json={"username": owner.username, "password": PASSWORD}).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"

    def add(to: str, **options) -> Job:
        answer = client.post("/jobs", json=body(to, **options))
        assert answer.status_code == 202, answer.text
        return platform.job(answer.json()["id"])

    soon = now_in_postgres() + timedelta(seconds=1.5)
    at_once = add("now@example.com", expires_at=(now_in_postgres() + HOUR / 2).isoformat())
    delayed = add("delayed@example.com", delay_seconds=1.5)
    at_a_time = add("then@example.com", run_at=soon.isoformat())
    in_half_an_hour = add("patience@example.com", run_at=(now_in_postgres() + HOUR / 2).isoformat())
    too_late = add("too-late@example.com", expires_at=(now_in_postgres() - HOUR / 2).isoformat())
    refused = add("later@example.com")
    platform.until_status("completed", at_once.id, delayed.id, at_a_time.id)
    platform.until_status("expired", too_late.id)
    platform.until(lambda: not Job.objects.filter(pk=pruned.pk).exists())
    platform.until(lambda: len(platform.outcomes(refused.id)) >= 2)
    del smtp.rcpt_answers["later@example.com"]
    platform.until_status("completed", refused.id)

    for name, child in (("api", api), ("worker", worker), ("scheduler", scheduler)):
        platform.assert_clock(name, child)
    for job in (delayed, at_a_time):
        started_at = Attempt.objects.get(job_id=job.id).started_at
        assert job.accepted_as == "scheduled"
        assert job.run_at <= started_at < job.run_at + MOST
    assert abs(delayed.run_at - delayed.created_at - timedelta(seconds=1.5)) < timedelta(milliseconds=1)
    assert platform.job(in_half_an_hour.id).status == "scheduled"
    assert_retries_waited(refused.id)
    assert_keys_lasted_a_day(client, open_key, spent_key)
    assert Job.objects.filter(pk=kept.pk).exists()
    assert set(Worker.objects.values_list("pk", flat=True)) & {build.WORKER, OTHER_WORKER} == {build.WORKER}
    assert_heartbeats_are_shown(client)
    assert_listed_since(client, soon - timedelta(minutes=1), at_once)
    assert sorted(mail.recipients[0] for mail in smtp.accepted) == sorted(
        f"{name}@example.com" for name in ("now", "delayed", "then", "later")
    )
    platform.assert_books_balance()


def assert_retries_waited(job_id) -> None:
    """Each began no earlier than its wait (0.1 s, doubled, ±20 %) after the one before, and not an hour later."""
    attempts = list(Attempt.objects.filter(job_id=job_id).order_by("id"))
    assert [attempt.outcome for attempt in attempts][:2] == ["transient", "transient"]
    for number, (before, after) in enumerate(pairwise(attempts)):
        waited = after.started_at - before.ended_at
        assert timedelta(seconds=0.08 * min(2**number, 4)) <= waited < MOST


def assert_keys_lasted_a_day(client, open_key: Job, spent_key: Job) -> None:
    again = client.post("/jobs", json=body("again@example.com"), headers={"Idempotency-Key": "yesterday"})
    assert again.status_code == 422, "the key is in use, and this is another request"
    open_key.refresh_from_db()
    spent_key.refresh_from_db()
    assert (open_key.idempotency_open, spent_key.idempotency_open) == (True, False)


def assert_heartbeats_are_shown(client) -> None:
    (row,) = [
        row for row in client.get("/workers").json()["results"] if row["heartbeat_age_seconds"] < MOST.total_seconds()
    ]
    assert row["heartbeat_age_seconds"] >= 0
    assert row["state"] in ("available", "busy")


def assert_listed_since(client, since: datetime, job: Job) -> None:
    listed = client.get("/jobs", params={"since": since.isoformat(), "limit": 100}).json()["results"]
    assert str(job.id) in [row["id"] for row in listed]


# ── Leases ────────────────────────────────────────────────────────────────────────────────────


@each_way
@pytest.mark.parametrize("who", ["worker", "scheduler"])
def test_a_worker_that_lives_keeps_its_jobs_and_one_that_died_loses_them_in_due_time(platform, smtp, who, hours):
    platform.wrong = (who, hours)
    platform.shorten_lease()
    lease = timedelta(seconds=float(platform.env["LEASE_SECONDS"]))
    scheduler = platform.start_scheduler()
    before_the_mark, after_the_mark = smtp.hold(AFTER_DATA), smtp.hold(AFTER_DOT)
    jobs = platform.accept_many(2)
    worker = platform.start_worker()
    platform.until(lambda: before_the_mark.is_reached and after_the_mark.is_reached)

    reached_at = now_in_postgres()
    platform.until(lambda: now_in_postgres() > reached_at + 2 * lease)
    assert [platform.job(job).status for job in jobs] == ["running", "running"]
    platform.assert_clock("worker", worker)
    platform.assert_clock("scheduler", scheduler)

    worker.kill()
    died_at = now_in_postgres()
    platform.until(lambda: not Job.objects.filter(status="running").exists())

    assert now_in_postgres() > died_at + lease - timedelta(seconds=float(platform.env["HEARTBEAT_SECONDS"]))
    assert sorted(platform.job(job).status for job in jobs) == ["queued", "unknown"]
    platform.start_worker()
    platform.until(lambda: sorted(platform.job(job).status for job in jobs) == ["completed", "unknown"])
    platform.assert_books_balance()
