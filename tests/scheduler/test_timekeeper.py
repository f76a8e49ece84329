"""The timekeeper: what is due makes its job, once, whatever happens."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from structlog.testing import capture_logs

from jobs import firings, queue, requests, schedules, types
from jobs.errors import QueueFull
from jobs.models import Job, Schedule
from jobs.states import Status
from scheduler.loops.timekeeper import REST_SECONDS, Timekeeper
from tests.conftest import add_types
from tests.jobs.conftest import EMAIL, make_schedule
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell", "no_thread_stays")

NOTHING = {"fired": 0, "missed": 0, "paused": 0, "put_off": 0}


def minute(ago=0):
    """The last full minute by PostgreSQL's clock, or one before it."""
    ((now,),) = build.sql("SELECT date_trunc('minute', now())")
    return now - timedelta(minutes=ago)


def due(*, minutes_ago=0, **columns):
    """A schedule for each minute whose next time was so many minutes ago."""
    return make_schedule(build.an_owner(), **{"cron": "* * * * *", "next_at": minute(minutes_ago)} | columns)


def due_once(**columns):
    """Likewise, but with a single time in the past: no test is slow enough to see the next."""
    return due(**{"cron": "0 0 1 1 *"} | columns)


def fire(**expected):
    counts = Timekeeper().run_once(0.0)
    assert counts == NOTHING | expected
    return counts


def jobs_of(schedule):
    return list(Job.objects.filter(idempotency_key__startswith=f"schedule:{schedule.id}:").order_by("run_at"))


def run_at_once(*functions):
    def closing(function):
        try:
            function()
        finally:
            connection.close()

    threads = [threading.Thread(target=closing, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ── What a firing makes ───────────────────────────────────────────────────────────────────────


def test_what_is_due_makes_an_ordinary_job_and_rings_and_the_rest_waits(bell, moved):
    options = {"priority": "high", "max_attempts": 2, "on_unknown": "resend"}
    row, later = due_once(options=options), make_schedule(build.an_owner())
    before = datetime.now(UTC)

    fire(fired=1)

    (job,) = jobs_of(row)
    assert (job.owner_id, job.type, job.status, job.payload["to"]) == (row.owner_id, "email", "queued", EMAIL["to"])
    assert (job.priority, job.max_attempts, job.on_unknown) == ("high", 2, "resend")
    assert (job.run_at, job.correlation_id) == (row.next_at, f"schedule-{row.id}")
    assert job.idempotency_key == job.dedupe_key == f"schedule:{row.id}:{row.next_at:%Y-%m-%dT%H:%MZ}"
    assert job.recipients == ["ann@example.org"]
    assert queue.head("high", limit=10) == [job.id]
    planned = row.next_at
    row.refresh_from_db()
    assert (row.last_at, row.last_job_id, row.paused) == (planned, job.id, False)
    assert row.next_at == datetime(before.year + 1, 1, 1, tzinfo=UTC)
    assert jobs_of(later) == []
    assert moved("schedule_runs_total") == 1
    fire()


def test_a_fired_job_is_done_and_each_of_its_messages_is_its_own():
    """The same payload again, at the next time, is no duplicate."""
    row = due_once()
    for ago in (1, 0):
        Schedule.objects.update(next_at=minute(ago))
        fire(fired=1)

    first, second = jobs_of(row)
    for job in (first, second):
        build.sent(build.claimed(job.id))

    assert {job.status for job in jobs_of(row)} == {Status.COMPLETED}
    assert {job.duplicate_of for job in jobs_of(row)} == {None}


def test_what_rests_and_what_is_to_come_makes_nothing():
    make_schedule(build.an_owner(), paused=True)
    make_schedule(build.an_owner(), next_at=minute(-2))

    fire()

    assert not Job.objects.exists()


def test_many_are_fired_in_one_round():
    rows = [due_once() for _ in range(25)]

    fire(fired=25)

    assert [len(jobs_of(row)) for row in rows] == [1] * 25


def test_without_redis_it_is_fired_all_the_same(own_redis):
    own_redis.kill()
    row = due_once()

    fire(fired=1)

    assert [job.status for job in jobs_of(row)] == ["queued"]


def test_the_bell_rings_after_the_commit(monkeypatch):
    seen = []

    def look(waiting, keys):
        with_own_eyes = threading.Thread(target=lambda: run_at_once(lambda: seen.append(Job.objects.count())))
        with_own_eyes.start()
        with_own_eyes.join()
        return bool(waiting)

    monkeypatch.setattr(queue, "announce", look)
    due_once()

    fire(fired=1)

    assert seen == [1]


# ── Never twice, never lost ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("clocks", [2, 5])
def test_several_clocks_fire_each_time_once(bell, clocks):
    rows = [due_once(missed=missed) for missed in ("skip", "once", "all") * 10]
    counts = []

    run_at_once(*[lambda: counts.append(Timekeeper().run_once(0.0))] * clocks)

    assert sum(count["fired"] for count in counts) == 30
    assert [len(jobs_of(row)) for row in rows] == [1] * 30
    assert bell.llen("{sendonce}:queue:default") == 30


def test_a_clock_skips_what_another_is_firing():
    row, other = due_once(next_at=minute(1)), due_once()

    with transaction.atomic():
        assert build.sql("SELECT id FROM jobs_schedule WHERE id = %s FOR UPDATE", row.id)
        counts = []
        run_at_once(lambda: counts.append(Timekeeper().run_once(0.0)))

    assert counts == [NOTHING | {"fired": 1}]
    assert (len(jobs_of(row)), len(jobs_of(other))) == (0, 1)
    fire(fired=1)


def test_a_clock_that_is_cut_off_between_the_job_and_the_next_time_leaves_nothing_and_the_next_fires(
    postgres, monkeypatch, bell
):
    row = due_once()
    run = firings.run

    def cut_off(statement, **params):
        if statement == "advance_schedule":
            ((pid,),) = build.sql("SELECT pg_backend_pid()")
            assert Job.objects.count() == 1, "the job is written, and not committed"
            postgres.end(pid)
        return run(statement, **params)

    monkeypatch.setattr(firings, "run", cut_off)
    with pytest.raises(OperationalError):
        Timekeeper().run_once(0.0)
    monkeypatch.undo()

    assert not Job.objects.exists()
    assert bell.llen("{sendonce}:queue:default") == 0
    fire(fired=1)
    assert len(jobs_of(row)) == 1


def test_a_clock_that_dies_after_the_commit_and_before_the_bell_loses_nothing(monkeypatch, bell):
    row = due_once()

    def die(*_, **__):
        raise SystemExit

    monkeypatch.setattr(queue, "announce", die)
    with pytest.raises(SystemExit):
        Timekeeper().run_once(0.0)
    monkeypatch.undo()

    fire()
    (job,) = jobs_of(row)
    assert (job.status, bell.llen("{sendonce}:queue:default")) == ("queued", 0), "the reconciler finds it"


@pytest.mark.parametrize("policy", ["skip", "once", "all"])
def test_a_time_that_comes_up_again_leads_to_the_job_that_there_is(policy):
    """A commit whose answer was lost, a schedule put back from a copy: it is the key that decides."""
    row = due_once(missed=policy)
    fire(fired=1)

    Schedule.objects.update(next_at=row.next_at)
    fire()

    (job,) = jobs_of(row)
    row.refresh_from_db()
    assert row.last_job_id == job.id


def test_a_time_that_comes_up_again_after_its_keys_window_is_not_sent_again():
    row = due_once()
    fire(fired=1)
    (job,) = jobs_of(row)
    build.sent(build.claimed(job.id))
    Job.objects.update(idempotency_open=False)

    Schedule.objects.update(next_at=row.next_at)
    fire(fired=1)

    (again,) = (other for other in jobs_of(row) if other.id != job.id)
    assert build.gate(build.claimed(again.id)).admitted == set()
    assert build.where(again.id) == ("completed", "sent")


def test_a_schedule_that_is_deleted_while_it_fires_makes_its_job_or_none(monkeypatch):
    row = due_once()
    run, deleting = firings.run, threading.Event()

    def delete():
        deleting.set()
        Schedule.objects.filter(id=row.id).delete()

    def meanwhile(statement, **params):
        if statement == "advance_schedule":
            thread.start()
            deleting.wait(5)
        return run(statement, **params)

    thread = threading.Thread(target=lambda: run_at_once(delete))
    monkeypatch.setattr(firings, "run", meanwhile)
    fire(fired=1)
    thread.join()

    assert not Schedule.objects.exists()
    assert len(jobs_of(row)) == 1


# ── Times at which no clock was running ───────────────────────────────────────────────────────


def test_once_makes_one_job_for_all_that_was_missed(moved):
    row = due(minutes_ago=5, missed="once")

    with capture_logs() as logs:
        counts = Timekeeper().run_once(0.0)

    (job,) = jobs_of(row)
    assert job.run_at == row.next_at
    assert counts["fired"] == 1
    assert counts["missed"] == moved("schedule_runs_missed_total") in (5, 6)  # a minute may have begun
    (told,) = [line for line in logs if line["event"] == "schedule_missed"]
    assert (told["policy"], told["missed"], told["first"]) == ("once", counts["missed"], row.next_at.isoformat())
    row.refresh_from_db()
    assert minute() < row.next_at <= minute(-1)


def test_skip_makes_none_for_what_is_over():
    row = due(cron=f"{minute(5):%M %H} * * *", minutes_ago=5, missed="skip")

    fire(missed=1)

    assert jobs_of(row) == []
    planned = row.next_at
    row.refresh_from_db()
    assert (row.next_at, row.last_at) == (planned + timedelta(days=1), None)


def test_skip_makes_the_one_that_is_due_now():
    row = due(minutes_ago=5, missed="skip")

    counts = Timekeeper().run_once(0.0)

    assert counts["fired"] == 1
    assert counts["missed"] >= 5
    (job,) = jobs_of(row)
    assert job.run_at >= minute(1)


def test_all_makes_one_for_each():
    row = due(minutes_ago=5, missed="all")
    first = row.next_at

    counts = Timekeeper().run_once(0.0)

    made = jobs_of(row)
    assert (counts["fired"], counts["missed"]) == (len(made), 0)
    assert [job.run_at for job in made] == [first + timedelta(minutes=number) for number in range(len(made))]
    assert len(made) in (6, 7)
    row.refresh_from_db()
    assert (row.last_at, row.last_job_id) == (made[-1].run_at, made[-1].id)


def test_all_makes_so_many_and_tells_how_many_not():
    row = due(minutes_ago=150, missed="all")

    with capture_logs() as logs:
        counts = Timekeeper().run_once(0.0)

    assert (counts["fired"], len(jobs_of(row))) == (firings.MOST, firings.MOST)
    assert counts["missed"] in (51, 52)
    assert [line["missed"] for line in logs if line["event"] == "schedule_missed"] == [counts["missed"]]
    row.refresh_from_db()
    assert row.next_at > minute(), "and the rest is skipped for good"


@pytest.mark.parametrize(("policy", "made"), [("skip", 1), ("once", 1), ("all", firings.MOST)])
def test_a_year_of_missed_minutes_is_counted_no_further_than_is_worth_it(policy, made):
    row = due(minutes_ago=366 * 24 * 60, missed=policy)

    counts = Timekeeper().run_once(0.0)

    assert (counts["fired"], counts["missed"]) == (made, firings.COUNTED - made)
    row.refresh_from_db()
    assert row.next_at > minute()


def test_what_passed_while_it_rested_was_not_missed():
    row = due_once(cron=f"{minute(5):%M %H} * * *", minutes_ago=5, missed="all")
    schedules.pause(row.id, owner_id=None, reason="a holiday")
    fire()

    resumed = schedules.resume(row.id, owner_id=None)

    assert resumed.next_at == row.next_at + timedelta(days=1)
    fire()
    assert jobs_of(row) == []


# ── Over the switches ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("planned", "next_at", "then"),
    [
        # 02:30 is 03:00 on this day, and 02:30 on the next.
        ("2025-03-29T01:30:00+00:00", "2025-03-30T01:00:00+00:00", "2025-03-31T00:30:00+00:00"),
        # 02:30 comes twice; its first pass counts.
        ("2025-10-25T00:30:00+00:00", "2025-10-26T00:30:00+00:00", "2025-10-27T01:30:00+00:00"),
    ],
)
def test_a_day_on_which_the_clocks_are_moved_has_one_job(planned, next_at, then):
    """Three days that were missed, each told by its own job."""
    row = due(cron="30 2 * * *", time_zone="Europe/Berlin", missed="all", next_at=datetime.fromisoformat(planned))

    Timekeeper().run_once(0.0)

    times = [job.run_at.isoformat() for job in jobs_of(row)[:3]]
    assert times == [planned, next_at, then]


# ── Schedules that cannot be fired ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"type": "gone", "payload": {}}, "type: is not a known type"),
        ({"payload": {"to": "ann@example.org"}}, "payload.subject: is required"),
        ({"options": {"provider": "gone"}}, "provider: Not configured"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone: Not a name"),
        ({"cron": "soon"}, "cron: Has 1 fields"),
    ],
)
def test_one_whose_job_is_refused_is_paused_with_the_reason_and_the_others_go_on(columns, said):
    wrong, right = due_once(next_at=minute(1), **columns), due_once()

    with capture_logs() as logs:
        fire(fired=1, paused=1)

    assert (len(jobs_of(wrong)), len(jobs_of(right))) == (0, 1)
    wrong.refresh_from_db()
    assert (wrong.paused, wrong.next_at) == (True, None)
    assert said in wrong.pause_reason
    assert "schedule_paused" in [line["event"] for line in logs]
    fire()


def test_a_job_whose_key_was_used_for_something_else_pauses_its_schedule():
    row = due_once()
    build.a_job(idempotency_key=f"schedule:{row.id}:{row.next_at:%Y-%m-%dT%H:%MZ}", owner_id=row.owner_id)

    fire(paused=1)

    row.refresh_from_db()
    assert "This idempotency key led to job" in row.pause_reason


def test_one_of_many_that_is_refused_takes_the_others_of_its_schedule_along(bell):
    row = due(minutes_ago=3, missed="all")
    taken = row.next_at + timedelta(minutes=1)
    build.a_job(idempotency_key=f"schedule:{row.id}:{taken:%Y-%m-%dT%H:%MZ}", owner_id=row.owner_id)

    fire(paused=1)

    assert len(jobs_of(row)) == 1, "the one that was there"
    assert bell.llen("{sendonce}:queue:default") == 0


def test_rules_that_fail_stop_no_other_and_are_asked_again_later(monkeypatch):
    def fail(payload, at):
        raise ZeroDivisionError

    add_types(monkeypatch, "tests.shop.job_types")
    types.register(types.JobType(name="broken", payload=types.find("email").payload, rules=fail))
    wrong, right = due_once(type="broken", next_at=minute(1)), due_once()
    clock = Timekeeper()

    with capture_logs() as logs:
        assert clock.run_once(0.0) == NOTHING | {"fired": 1, "put_off": 1}

    assert [line["event"] for line in logs] == ["schedule_failed", "job_accepted"]
    assert len(jobs_of(right)) == 1
    assert clock.run_once(REST_SECONDS - 1) == NOTHING, "it rests"
    assert clock.run_once(REST_SECONDS + 1) == NOTHING | {"put_off": 1}
    wrong.refresh_from_db()
    assert not wrong.paused


def test_a_door_that_is_closed_for_a_moment_pauses_nothing(monkeypatch):
    row = due_once()

    def full(body):
        raise QueueFull(retry_after=1)

    monkeypatch.setattr(requests, "read", full)
    clock = Timekeeper()
    assert clock.run_once(0.0) == NOTHING | {"put_off": 1}
    monkeypatch.undo()

    assert clock.run_once(REST_SECONDS + 1) == NOTHING | {"fired": 1}
    assert len(jobs_of(row)) == 1


def test_without_postgresql_the_round_fails_and_nothing_is_blamed(postgres):
    row = due_once()
    postgres.go_away()

    with pytest.raises(OperationalError):
        Timekeeper().run_once(0.0)

    postgres.come_back()
    fire(fired=1)
    row.refresh_from_db()
    assert not row.paused


# ── What the table refuses ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"missed": "maybe"}, "schedule_missed_known"),
        ({"next_at": None}, "schedule_has_a_time_or_rests"),
        ({"paused": True}, "schedule_has_a_time_or_rests"),
        ({"name": "taken"}, "schedule_name_of_owner"),
    ],
)
def test_an_impossible_schedule_is_refused(columns, constraint):
    due_once(name="taken")
    row = due_once()

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Schedule.objects.filter(id=row.id).update(**columns)
