"""The waker: nobody waits for ever beside an unknown, and a policy is applied when it is safe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs import queue
from jobs.conf import tunables
from jobs.errors import TooLate
from jobs.models import DeadLetter, Delivery, Job
from jobs.states import Decision
from scheduler.loops.waker import Waker
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell")

NOTHING = {"decided": 0, "woken": 0}


@pytest.fixture
def waker():
    return Waker(replace(tunables(), lease_seconds=30.0, dot_timeout_seconds=600.0))


def marked_so_long_ago(claim, seconds: float) -> None:
    Delivery.objects.filter(claim=claim.token).update(dot_at=build.ago(seconds))


@pytest.mark.parametrize("decision", [Decision.MARK_SENT, Decision.SEND_AGAIN])
def test_once_the_unknown_is_decided_who_waited_beside_it_goes_on(waker, decision):
    first = build.unknown(key="order-7")
    held = build.held(behind=first)
    assert waker.run_once(0.0) == NOTHING
    build.decide(first, decision)

    assert waker.run_once(0.0) == {"decided": 0, "woken": 1}

    job = Job.objects.get(pk=held.job_id)
    assert (job.status, job.held_behind, job.attempts) == ("queued", None, 0)
    assert held.job_id in queue.head("default", limit=10)


def test_who_was_held_after_the_decision_is_woken_all_the_same(waker):
    """The lost wake-up of trace 8: by level, not by edge."""
    first = build.unknown(key="order-7")
    late = build.claimed(key="order-7")
    build.held(behind=first)
    build.gate(late)
    build.decide(first, Decision.MARK_SENT)

    assert waker.run_once(0.0)["woken"] == 2


def test_beside_one_that_was_dropped_the_wait_ends_in_a_dead_letter(waker):
    first = build.unknown(key="order-7")
    held = build.held(behind=first)
    build.decide(first, Decision.DROP)

    assert waker.run_once(0.0) == NOTHING

    assert Job.objects.get(pk=held.job_id).status == "failed"
    assert build.facts(held).letters == [("dropped", None)]


def test_assume_sent_waits_for_the_other_sides_own_word_and_redis_hears_of_it(waker, bell):
    claim = build.unknown(on_unknown="assume_sent")

    marked_so_long_ago(claim, 629)
    assert waker.run_once(0.0) == NOTHING
    marked_so_long_ago(claim, 631)
    assert waker.run_once(0.0) == {"decided": 1, "woken": 0}

    assert build.where(claim) == ("completed", "sent")
    assert build.facts(claim).letters == [("unknown", "mark_sent")]
    assert DeadLetter.objects.get(job_id=claim.job_id).resolved_by is None, "the machine did, by policy"
    assert bell.get(f"sendonce:gate:{claim.dedupe_hash.hex()}") == b"sent"


def test_resend_waits_until_even_a_zombie_has_stopped_waiting_for_its_reply(waker):
    claim = build.unknown(on_unknown="resend")

    marked_so_long_ago(claim, 629)
    assert waker.run_once(0.0) == NOTHING
    marked_so_long_ago(claim, 631)
    assert waker.run_once(0.0) == {"decided": 1, "woken": 0}

    job = Job.objects.get(pk=claim.job_id)
    assert build.where(claim) == ("queued", "released")
    assert job.in_doubt
    assert job.attempts == 1, "a machine that decides gets no new budget"
    assert queue.head("default", limit=10) == [claim.job_id]


def test_a_policy_lets_a_provider_that_can_be_asked_be_asked_once_more(waker):
    asked = Waker(replace(waker._conf, evidence_sources={"main": "inbox+smtp://127.0.0.1:1025"}))
    claim = build.unknown(on_unknown="assume_sent")

    marked_so_long_ago(claim, 660)
    assert asked.run_once(0.0) == NOTHING
    letter = DeadLetter.objects.filter(claim=claim.token)
    letter.update(asked_at=build.ago(9))
    assert asked.run_once(0.0) == NOTHING, "the answer is on its way"
    letter.update(evidence=[{"asked_at": build.ago(9).isoformat(), "answered": True, "accepted": None}])
    assert asked.run_once(0.0) == {"decided": 1, "woken": 0}


def test_resend_ends_with_the_budget(waker):
    claim = build.unknown(on_unknown="resend", max_attempts=1)
    marked_so_long_ago(claim, 10_000)

    assert waker.run_once(0.0) == NOTHING
    assert build.where(claim) == ("unknown", "unknown")


def test_hold_waits_for_a_person_for_ever(waker):
    claim = build.unknown(on_unknown="hold")
    marked_so_long_ago(claim, 1_000_000)

    assert waker.run_once(0.0) == NOTHING
    assert build.where(claim) == ("unknown", "unknown")


def test_who_comes_second_to_a_decision_leaves_it_as_it_is(waker, monkeypatch):
    first, second = build.unknown(on_unknown="assume_sent"), build.unknown(on_unknown="assume_sent")
    Delivery.objects.update(dot_at=build.ago(631))
    resolve, asked = build.resolutions.resolve, []

    def resolve_too_late(dead_letter, *args, **kwargs):
        asked.append(dead_letter)
        if len(asked) == 1:
            raise TooLate
        return resolve(dead_letter, *args, **kwargs)

    monkeypatch.setattr(build.resolutions, "resolve", resolve_too_late)

    assert waker.run_once(0.0) == {"decided": 1, "woken": 0}
    assert build.where(first) == ("unknown", "unknown")
    assert build.where(second) == ("completed", "sent")
