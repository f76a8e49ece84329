"""The taker: no more than there is room for, with Redis or without, and nothing of its own forgotten."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError, connection
from msgspec.structs import replace
from structlog.testing import capture_logs

from jobs import queue, redis_session, transitions
from jobs.claims import Waiting
from jobs.conf import tunables
from jobs.models import Job
from jobs.states import Lane, Priority
from tests.conftest import until
from tests.jobs.transitions import builders as build
from tests.workers.conftest import routes
from workers import gate, quarantine
from workers import taker as module
from workers.pulse import Pulse
from workers.slots import Slots
from workers.taker import Taker

ME = build.WORKER


class RunningTaker(Taker):
    def __init__(self, recorder, *, capacity: int = 10, lane: Lane = Lane.MESSAGES) -> None:
        self.handed_over, self.slots, self.pulse = [], Slots(capacity, tasks=capacity), Pulse()
        recorder._on_over = self.slots.free
        recorder._on_acquitted = self.slots.acquit
        super().__init__(
            worker=ME,
            priorities=list(Priority),
            slots=self.slots,
            recorder=recorder,
            routes=routes(),
            hand_over=self.handed_over.extend,
            pulse=self.pulse,
            conf=tunables(),
            journals=recorder.journals,
            lane=lane,
        )
        self.thread = threading.Thread(target=self.run, name="taker")

    def start(self) -> None:
        self.thread.start()

    def finish(self) -> None:
        self.stop()
        if self.thread.ident:
            self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def jobs(self) -> list:
        return [claim.job_id for claim in self.handed_over]


@pytest.fixture
def a_taker(recorder, monkeypatch):
    for name, seconds in {"LISTEN": 0.1, "POLL": 0.02, "REST": 0.02, "SWEEP": 1000.0}.items():
        monkeypatch.setattr(module, f"{name}_SECONDS", seconds)
    made = []

    def make(**how):
        made.append(RunningTaker(recorder, **how))
        return made[-1]

    yield make
    for taker in made:
        taker.finish()


def rung(priority="default", lane=Lane.MESSAGES, **columns):
    job_id = build.a_job(priority=priority, lane=lane.value, **columns)
    assert queue.push([Waiting(job_id, priority, lane)])
    return job_id


def suspect(**columns):
    job_id = build.a_job(**columns)
    build.set_job(job_id, deaths=1)
    queue.push([Waiting(job_id, "default")])
    return job_id


def test_when_jobs_come_briskly_what_is_rung_for_right_after_a_take_is_claimed_together(a_taker, monkeypatch):
    monkeypatch.setattr(module, "BRISK_JOBS", 1)
    taker, first = a_taker(), rung()
    waits, go_on = threading.Event(), threading.Event()
    taker._stopping.wait = lambda seconds: seconds > 0 and (waits.set(), go_on.wait(30))
    taker.start()
    assert waits.wait(30)

    others = [rung(), rung()]
    go_on.set()

    until(lambda: len(taker.jobs()) == 3)
    assert taker.jobs()[0] == first
    assert sorted(taker.jobs()[1:]) == sorted(others)
    assert len({tuple(row) for row in build.sql("SELECT xmin::text FROM jobs_delivery")}) == 2


def test_jobs_that_come_now_and_then_are_taken_up_at_once(a_taker):
    taker, waits = a_taker(), []
    taker._stopping.wait = lambda seconds: seconds > 0 and waits.append(seconds)
    taker.start()

    for count in range(1, 4):
        rung()
        until(lambda: len(taker.jobs()) == count)  # noqa: B023

    assert waits == []


# ── Quarantine ────────────────────────────────────────────────────────────────────────────────


def test_suspects_set_out_one_at_a_time_and_before_the_others(a_taker, recorder, monkeypatch):
    monkeypatch.setattr("workers.quarantine.CALM_SECONDS", 0.0)  # the acquitted one stays under way
    first, other, second = suspect(), rung(), suspect()
    taker = a_taker()
    recorder.start()
    taker.start()

    until(lambda: taker.handed_over)
    assert taker.jobs() == [first]
    assert [build.where(job_id)[1] for job_id in (first, other, second)] == ["claimed", None, None]
    taker.slots.acquit([taker.handed_over[0].token])
    until(lambda: len(taker.handed_over) == 2)
    assert taker.jobs() == [first, second]
    taker.slots.free([taker.handed_over[1].token])  # over is as good as acquitted
    until(lambda: len(taker.handed_over) == 3)
    assert taker.jobs() == [first, second, other]


@pytest.mark.django_db
def test_each_suspect_is_a_sign_of_life_also_when_the_patience_is_over(monkeypatch):
    """All of them together may take longer than the watchdog waits."""
    monkeypatch.setattr("workers.quarantine.CALM_SECONDS", 0.0)
    suspects, signs = [replace(build.gated(), deaths=1) for _ in range(3)], []
    slots = Slots(10)
    slots.hold([build.gated(), *suspects])  # the first is under way

    for number, (suspect,) in enumerate(quarantine.batches(suspects, slots, lambda: signs.append("tick"))):
        assert len(signs) == number
        slots.acquit([suspect.token])

    assert signs == ["tick"] * 3


def test_a_suspect_waits_until_the_trips_under_way_are_over(a_taker, monkeypatch):
    monkeypatch.setattr("workers.quarantine.CALM_SECONDS", 60.0)
    taker = a_taker()
    taker.start()
    under_way = rung()
    until(lambda: taker.handed_over)
    waiting = suspect()
    until(lambda: build.where(waiting)[0] == "running")

    assert taker.jobs() == [under_way]
    taker.slots.free([taker.handed_over[0].token])
    until(lambda: taker.jobs() == [under_way, waiting])


def test_a_suspect_does_not_wait_for_ever(a_taker, monkeypatch):
    monkeypatch.setattr("workers.quarantine.CALM_SECONDS", 0.0)
    taker = a_taker()
    taker.start()
    under_way = rung()
    until(lambda: taker.handed_over)

    waiting = suspect()

    until(lambda: taker.jobs() == [under_way, waiting])


def test_a_suspect_that_does_not_pass_the_gate_holds_nobody_up(a_taker):
    build.sent(key="k")
    duplicate, other = suspect(key="k"), rung()
    taker = a_taker()

    taker.start()

    until(lambda: taker.jobs() == [other])
    assert build.where(duplicate) == ("completed", "sent")


def test_at_the_end_who_still_waits_behind_a_suspect_goes_back(a_taker, recorder):
    on_trial, waiting, other = suspect(), suspect(), rung()
    taker = a_taker()
    recorder.start()
    taker.start()
    until(lambda: taker.handed_over)

    taker.finish()
    recorder.finish()

    assert taker.jobs() == [on_trial]
    assert [build.where(job_id)[0] for job_id in (waiting, other)] == ["scheduled", "scheduled"]
    assert taker.slots.tokens() == {taker.handed_over[0].token}


# ── With Redis ────────────────────────────────────────────────────────────────────────────────


def test_what_rings_is_claimed_let_in_and_handed_over(a_taker):
    taker = a_taker()
    taker.start()

    job_id = rung()

    (claim,) = until(lambda: taker.handed_over)
    assert claim.job_id == job_id
    assert build.where(claim) == ("running", "claimed")
    assert taker.slots.tokens() == {claim.token}


def test_it_claims_no_more_than_there_are_free_slots(a_taker, bell):
    jobs = [rung() for _ in range(5)]
    taker = a_taker(capacity=3)

    taker.start()

    until(lambda: len(taker.handed_over) == 3)
    assert set(taker.jobs()) == set(jobs[:3])
    assert bell.llen("{sendonce}:queue:default") == 2
    assert Job.objects.filter(status="queued").count() == 2

    taker.slots.free([taker.handed_over[0].token])
    until(lambda: len(taker.handed_over) == 4)
    assert set(taker.jobs()) == set(jobs[:4])


def test_higher_priorities_go_first(a_taker):
    low, default, high = (rung(priority) for priority in ("low", "default", "high"))
    taker = a_taker(capacity=1)
    taker.start()

    for served in range(1, 4):
        until(lambda served=served: len(taker.handed_over) == served)
        taker.slots.free([taker.handed_over[-1].token])

    assert taker.jobs() == [high, default, low]


def test_stale_and_double_ids_are_dropped(a_taker, bell):
    cancelled = rung()
    transitions.cancel(cancelled, owner_id=build.an_owner().pk)
    twice = rung()
    queue.push([Waiting(twice, "default")])
    bell.lpush("{sendonce}:queue:default", b"no id")
    taker = a_taker()

    taker.start()

    until(lambda: not bell.llen("{sendonce}:queue:default"))
    until(lambda: taker.handed_over)
    taker.finish()
    assert taker.jobs() == [twice]
    assert len(taker.slots) == 1


def test_who_is_not_let_in_takes_no_slot(a_taker):
    build.sent(key="order-7")
    duplicate = rung(key="order-7")
    taker = a_taker()

    taker.start()

    until(lambda: build.where(duplicate) == ("completed", "sent"))
    until(lambda: len(taker.slots) == 0)
    taker.finish()
    assert taker.handed_over == []


def test_a_job_past_its_time_ends_here(a_taker):
    expired = rung(expires_at=build.ago(1))
    taker = a_taker()

    taker.start()

    until(lambda: build.where(expired) == ("expired", None))
    taker.finish()
    assert len(taker.slots) == 0


def test_stopped_while_it_listens_it_gives_what_it_took_to_others(a_taker, bell, monkeypatch):
    taker, take = a_taker(), queue.take

    def take_and_be_stopped(*args, **kwargs):
        taken = take(*args, **kwargs)
        taker.stop()
        return taken

    monkeypatch.setattr(queue, "take", take_and_be_stopped)
    job_id = rung()

    taker.run()

    assert bell.lrange("{sendonce}:queue:default", 0, -1) == [job_id.bytes]
    assert build.where(job_id) == ("queued", None)


def test_it_ends_at_once_although_it_is_full(a_taker, monkeypatch):
    monkeypatch.setattr(module, "LISTEN_SECONDS", 60.0)
    taker = a_taker(capacity=1)
    taker.slots.hold([build.gated()])
    taker.start()
    until(lambda: taker.slots._changed._waiters)

    taker.finish()

    assert taker.pulse.silent(for_seconds=-1) == [], "a drain goes on without it"


def test_with_nothing_to_take_it_still_hears_how_others_find_the_providers(a_taker, monkeypatch):
    taker, looks = a_taker(), []
    monkeypatch.setattr(taker._routes, "refresh", lambda: looks.append(1))
    taker.start()

    until(lambda: len(looks) > 2)


# ── Without Redis ─────────────────────────────────────────────────────────────────────────────


def test_without_redis_it_asks_postgres_and_comes_back_by_itself(a_taker, own_redis):
    own_redis.kill()
    low, high = build.a_job(priority="low"), build.a_job(priority="high")
    taker = a_taker(capacity=1)
    with capture_logs() as logs:
        taker.start()
        until(lambda: taker.handed_over)
    taker.slots.free([taker.handed_over[0].token])
    until(lambda: len(taker.handed_over) == 2)
    taker.slots.free([taker.handed_over[1].token])

    own_redis.start()

    assert taker.jobs() == [high, low]
    assert {"event": "redis_away", "error": "ConnectionError", "log_level": "warning"} in logs
    queue.push([Waiting(low, "low")])
    until(lambda: not queue.depths()["low"])


def test_who_was_not_rung_for_because_redis_was_away_is_asked_for_after_its_return(a_taker, own_redis, monkeypatch):
    """Others may notice the return later than the taker does; nobody waits for the reconciler."""
    monkeypatch.setattr(module, "LONGEST_SILENCE_SECONDS", 1000.0)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "RETURN_SECONDS", 1000.0)
    taker, take, heard = a_taker(), queue.take, []
    monkeypatch.setattr(queue, "take", lambda *args, **kwargs: heard.append(take(*args, **kwargs)))
    own_redis.kill()
    with capture_logs() as logs:
        taker.start()
        until(lambda: logs)
    own_redis.start()
    until(lambda: heard)

    for _ in range(2):
        job_id = build.a_job()

        until(lambda job_id=job_id: job_id in taker.jobs())


def test_when_redis_has_been_back_for_a_while_the_bell_is_enough(a_taker, own_redis, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_SILENCE_SECONDS", 1000.0)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "RETURN_SECONDS", 0.0)
    asked, heard, claim_waiting, take = [], [], transitions.claim_waiting, queue.take
    monkeypatch.setattr(
        transitions, "claim_waiting", lambda *args, **kwargs: asked.append(1) or claim_waiting(*args, **kwargs)
    )

    def take_and_tell(*args, **kwargs):
        taken = take(*args, **kwargs)
        heard.append(taken)
        return taken

    monkeypatch.setattr(queue, "take", take_and_tell)
    taker = a_taker()
    own_redis.kill()
    taker.start()
    until(lambda: asked)
    own_redis.start()
    until(lambda: heard)
    before = len(asked)

    until(lambda: len(heard) > 5)

    assert len(asked) <= before + 1, "one look was still due"


def test_a_redis_that_takes_no_more_pushes_does_not_stop_the_mail(a_taker, own_redis, monkeypatch):
    """Out of memory it refuses LPUSH, but answers a waiting worker with silence instead of an error."""
    monkeypatch.setattr(module, "LONGEST_SILENCE_SECONDS", 0.05)
    taker = a_taker()
    taker.start()

    job_id = build.a_job()  # accepted, and never pushed

    until(lambda: taker.jobs() == [job_id])


def test_without_redis_too_it_claims_no_more_than_there_are_free_slots(a_taker, own_redis):
    own_redis.kill()
    jobs = [build.a_job() for _ in range(3)]
    taker = a_taker(capacity=2)

    taker.start()

    until(lambda: len(taker.handed_over) == 2)
    taker.finish()
    assert set(taker.jobs()) == set(jobs[:2])
    assert build.where(jobs[2]) == ("queued", None)


@pytest.mark.slow
def test_a_redis_that_hangs_is_as_good_as_none(a_taker, own_redis):
    own_redis.hang()
    job_id = build.a_job()
    taker = a_taker()

    taker.start()

    until(lambda: taker.jobs() == [job_id], within=redis_session.PATIENCE_SECONDS + 3)
    own_redis.wake()


# ── Trace 6: claims that are ours and that we do not know ─────────────────────────────────────


def test_own_claims_that_it_does_not_know_are_given_back_and_known_ones_never(a_taker, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.02)
    known, marked = build.gated(), build.marked()
    unmarked, ungated = build.gated(), build.claimed()
    others = build.gated(worker=build.OTHER_WORKER)
    taker = a_taker()
    taker.slots.hold([known])

    taker.start()

    until(lambda: {unmarked.job_id, ungated.job_id} <= set(taker.jobs()))  # taken again, under a new token
    assert {claim.token for claim in taker.handed_over}.isdisjoint({unmarked.token, ungated.token})
    until(lambda: build.where(marked) == ("unknown", "unknown"))
    assert build.facts(known).job.claim == known.token
    assert build.facts(others).job.claim == others.token
    assert build.facts(unmarked).job.deaths == 0, "nobody died"


def test_a_claim_whose_answer_was_lost_is_found_and_taken_again(a_taker, monkeypatch):
    claim, lost = transitions.claim, []

    def claim_and_lose(ids, *, worker):
        claims = claim(ids, worker=worker)
        if not lost:
            lost.extend(claims)
            raise OperationalError("server closed the connection unexpectedly")
        return claims

    monkeypatch.setattr(transitions, "claim", claim_and_lose)
    taker = a_taker()
    taker.start()

    job_id = rung()

    (again,) = until(lambda: taker.handed_over)  # by a sweep at once, not by the next regular one
    assert again.job_id == lost[0].job_id == job_id
    assert again.token != lost[0].token


# ── Without PostgreSQL ────────────────────────────────────────────────────────────────────────


def test_without_postgres_it_lives_on_and_goes_on(a_taker, postgres):
    taker = a_taker()
    with capture_logs() as logs:
        taker.start()
        postgres.go_away()
        until(lambda: logs)
    assert taker.thread.is_alive()
    assert (logs[0]["event"], logs[0]["log_level"]) == ("postgres_away", "warning")

    postgres.come_back()
    job_id = rung()

    until(lambda: taker.jobs() == [job_id])


def test_what_rang_when_postgres_could_not_be_asked_is_asked_for(a_taker, monkeypatch):
    """Its id has left Redis, and it would wait for the reconciler."""
    claim, failed = transitions.claim, []

    def claim_later(ids, *, worker):
        if not failed:
            failed.extend(ids)
            raise OperationalError("server closed the connection unexpectedly")
        return claim(ids, worker=worker)

    monkeypatch.setattr(transitions, "claim", claim_later)
    monkeypatch.setattr(module, "LONGEST_SILENCE_SECONDS", 1000.0)
    taker = a_taker()
    taker.start()

    job_id = rung()

    until(lambda: taker.jobs() == [job_id])
    assert failed == [job_id]


def test_what_was_claimed_when_the_gate_could_not_be_asked_goes_back_for_free(a_taker, recorder, monkeypatch):
    admit, failed = gate.admit, []

    def admit_later(claims):
        if not failed:
            failed.extend(claims)
            raise OperationalError("server closed the connection unexpectedly")
        return admit(claims)

    monkeypatch.setattr(gate, "admit", admit_later)
    recorder.start()
    taker = a_taker()
    taker.start()

    job_id = rung()

    until(lambda: build.where(job_id) == ("scheduled", None))
    until(lambda: len(taker.slots) == 0)
    assert Job.objects.get(pk=job_id).attempts == 0
    assert taker.handed_over == []


# ── Lanes ─────────────────────────────────────────────────────────────────────────────────────


def test_a_taker_takes_what_waits_in_its_lane_and_no_more_than_there_are_hands(a_taker):
    rung()
    tasks = [rung(lane=Lane.TASKS) for _ in range(3)]
    taker = a_taker(lane=Lane.TASKS, capacity=2)
    taker.start()

    until(lambda: taker.jobs() == tasks[:2])
    taker.slots.free([taker.handed_over[0].token])

    until(lambda: taker.jobs() == tasks)
    assert queue.depths()["default"] == 1


def test_without_redis_it_asks_for_its_lane_only(a_taker, monkeypatch):
    build.a_job()
    task = build.a_job(lane="tasks")
    taker = a_taker(lane=Lane.TASKS)
    monkeypatch.setattr(taker, "_hears_the_bell", lambda: False)
    taker.start()

    until(lambda: taker.jobs() == [task])


def test_a_taker_whose_hands_are_full_makes_progress_all_the_same(a_taker):
    taker = a_taker(lane=Lane.TASKS, capacity=1)
    taker.slots.hold([build.gated()], Lane.TASKS)
    taker.start()

    until(lambda: taker.pulse._parts.get("tasks_taker") and taker.pulse._parts["tasks_taker"].progress_at)


def test_what_another_lane_has_just_claimed_is_not_swept(a_taker, monkeypatch):
    """Between a claim and its slot nobody looks for claims that are not known."""
    taker, claimed, go_on = a_taker(lane=Lane.TASKS), threading.Event(), threading.Event()
    sweeper = a_taker()
    sweeper.slots = sweeper._slots = taker.slots
    claim = transitions.claim
    monkeypatch.setattr(
        transitions, "claim", lambda *args, **kwargs: (claim(*args, **kwargs), claimed.set(), go_on.wait(30))[0]
    )
    task = rung(lane=Lane.TASKS)
    taker.start()
    assert claimed.wait(30)

    def look() -> None:
        sweeper._sweep()
        connection.close()

    sweep = threading.Thread(target=look, name="sweep")
    sweep.start()
    go_on.set()
    sweep.join(30)

    until(lambda: taker.jobs() == [task])
    assert build.where(task)[0] == "running"
