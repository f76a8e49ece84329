"""The gate: one delivery row per key decides who may send, and everybody else is settled at once."""

from __future__ import annotations

import pytest

from jobs import chores
from jobs.states import Decision, Outcome
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    a_job,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gate,
    gated,
    hash_of,
    held,
    marked,
    nothing_moves,
    rescue,
    sent,
    settle,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


def test_the_first_of_a_key_is_let_in_and_owns_its_delivery():
    claim = claimed(key="k")

    standing = gate(claim)

    assert standing == ({claim.token}, set(), set(), set(), set())
    delivery = facts(claim).delivery
    assert (delivery.state, delivery.claim, delivery.job_id) == ("claimed", claim.token, claim.job_id)


def test_a_key_that_was_sent_completes_the_job_without_sending():
    first = sent(key="k")
    second = claimed(key="k")

    assert gate(second).duplicates == {second.token}

    job = facts(second).job
    assert (job.status, job.duplicate_of) == ("completed", first.job_id)
    assert job.result == {"duplicate_of": str(first.job_id)}
    assert facts(second).delivery.job_id == first.job_id


def test_a_key_that_l1_calls_sent_is_a_duplicate_without_taking_a_row():
    first = sent(key="k")
    second = claimed(key="k")

    assert gate(second, said_sent=(second.token,)).duplicates == {second.token}

    assert facts(second).job.duplicate_of == first.job_id


def test_a_lie_of_l1_changes_nothing():
    claim = claimed(key="k")

    assert gate(claim, said_sent=(claim.token,)).admitted == {claim.token}

    assert where(claim) == ("running", "claimed")


@pytest.mark.parametrize("rival", [gated, marked])
def test_a_key_that_another_live_job_holds_puts_the_job_back_without_spending_an_attempt(rival):
    first = rival(key="k")
    second = claimed(key="k")

    assert gate(second).put_back == {second.token}

    job = facts(second).job
    assert (job.status, job.attempts) == ("scheduled", 0)
    assert facts(first).delivery.claim == first.token


@pytest.mark.parametrize("rival", [unknown, dropped])
def test_a_key_that_is_unknown_or_dropped_holds_the_job_beside_it(rival):
    first = rival(key="k")
    second = claimed(key="k")

    assert gate(second).held == {second.token}

    job = facts(second).job
    assert (job.status, job.held_behind) == ("unknown", first.job_id)
    assert job.result == {"held_behind": str(first.job_id)}
    assert facts(second).letters == []


def test_a_row_that_a_failed_rival_released_is_free_for_all():
    failed(key="k")
    second = claimed(key="k")

    assert gate(second).admitted == {second.token}

    assert facts(second).delivery.job_id == second.job_id


def test_a_job_of_its_own_key_that_went_out_meanwhile_is_complete_and_not_a_duplicate_of_itself():
    zombie = unknown(key="k")
    decide(zombie, Decision.SEND_AGAIN)
    second = claimed(zombie.job_id, worker=OTHER_WORKER)
    settle(zombie, Outcome.SENT)

    assert gate(second).duplicates == {second.token}

    job = facts(second).job
    assert (job.status, job.duplicate_of) == ("completed", None)


def test_a_claim_that_was_rescued_is_in_none_of_the_answers():
    claim = claimed(key="k")
    rescue()

    with nothing_moves(claim):
        assert gate(claim) == (set(), set(), set(), set(), set())


@pytest.mark.parametrize("build", [gated, marked])
def test_a_claim_that_has_passed_the_gate_is_neither_let_in_again_nor_put_back(build):
    """Its row is its own: put back, it would stay taken without a running job (K1). The own sweep gives it back."""
    claim = build(key="k")

    with nothing_moves(claim):
        assert gate(claim) == (set(), set(), set(), set(), set())


def test_jobs_of_different_fates_in_one_batch_each_get_their_own():
    sent(key="sent")
    unknown(key="unknown")
    gated(key="busy")
    free, duplicate, held_, busy = (claimed(key=k) for k in ("free", "sent", "unknown", "busy"))
    gone = claimed(key="gone", worker=OTHER_WORKER)
    rescue(OTHER_WORKER)

    standing = gate(free, duplicate, held_, busy, gone)

    assert standing == ({free.token}, {duplicate.token}, {held_.token}, {busy.token}, set())


def test_keys_of_different_owners_do_not_meet():
    """The owner is part of the hash that intake makes; the gate only compares hashes."""
    ann, bob = claimed(dedupe_hash=hash_of("ann k")), claimed(dedupe_hash=hash_of("bob k"))

    assert gate(ann, bob).admitted == {ann.token, bob.token}


def test_a_put_back_job_comes_back_when_its_wait_is_over():
    gated(key="k")
    second = claimed(key="k")
    gate(second)
    sql("UPDATE jobs_job SET run_at = now() WHERE id = %s", second.job_id)

    assert [w.job_id for w in chores.promote(limit=10)] == [second.job_id]


def test_a_held_job_is_put_aside_once_and_stays_so():
    first = unknown(key="k")
    waiting = held(behind=first)

    with nothing_moves(first, waiting):
        assert gate(waiting) == (set(), set(), set(), set(), set())


def test_an_empty_batch_asks_nobody():
    job_id = a_job()

    assert gate() == (set(), set(), set(), set(), set())
    assert where(job_id) == ("queued", None)
