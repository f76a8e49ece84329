"""Taking running jobs back: from the silent, and from a worker that does not know them."""

from __future__ import annotations

import pytest

from jobs import rescues, transitions
from jobs.claims import Waiting
from tests.jobs.transitions.builders import (
    LEASE,
    OTHER_WORKER,
    WORKER,
    a_job,
    beat,
    claimed,
    facts,
    failed,
    gated,
    held,
    marked,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("build", [claimed, gated])
def test_a_job_whose_worker_fell_silent_before_the_mark_is_queued_again(build):
    claim = build()

    found = rescue()

    assert found.waiting == [Waiting(claim.job_id, "default")]
    assert facts(claim).job.status == "queued"
    assert facts(claim).job.pushed_at is not None
    assert facts(claim).history == ["lost"]


def test_the_row_of_a_rescued_job_is_free_for_every_job_of_the_key():
    claim = gated(key="k")

    rescue()

    assert (facts(claim).delivery.state, facts(claim).delivery.claim) == ("released", None)
    assert gated(key="k")


def test_a_job_whose_worker_fell_silent_after_the_mark_is_unknown_with_its_evidence():
    claim = marked()

    found = rescue()

    assert (found.waiting, found.unknown, found.dead) == ([], 1, 0)
    assert where(claim) == ("unknown", "unknown")
    assert facts(claim).letters == [("unknown", None)]
    assert facts(claim).job.last_error["kind"] == "worker_lost"
    assert facts(claim).history == ["unknown"]


def test_a_worker_that_beats_keeps_what_it_holds():
    claim = marked()
    beat()

    with nothing_moves(claim):
        assert len(rescue()) == 0


def test_a_worker_whose_last_beat_is_older_than_the_lease_loses_what_it_holds():
    claim = gated()
    beat()
    sql("UPDATE jobs_worker SET beat_at = now() - interval '31 seconds'")

    assert len(rescue()) == 1
    assert where(claim) == ("queued", "released")


def test_only_workers_that_are_named_are_rescued_from():
    """The rescuer names those whose heartbeat it has itself seen unchanged (trace 7)."""
    claim = gated(worker=OTHER_WORKER)

    with nothing_moves(claim):
        assert len(rescue(WORKER)) == 0


def test_rescued_twice_is_rescued_once():
    claim = marked()
    rescue()

    with nothing_moves(claim):
        assert len(rescue()) == 0


@pytest.mark.parametrize("build", [unknown, sent, failed])
def test_nothing_is_taken_from_the_dead_but_what_was_running(build):
    claim = build()

    with nothing_moves(claim):
        assert len(rescue()) == 0


def test_a_rescue_takes_no_more_than_its_limit_and_the_next_one_the_rest():
    claims = [gated() for _ in range(5)]

    first = rescues.rescue([WORKER], **LEASE | {"limit": 3})
    second = rescues.rescue([WORKER], **LEASE | {"limit": 3})

    assert (len(first), len(second)) == (3, 2)
    assert {w.job_id for w in first.waiting + second.waiting} == {c.job_id for c in claims}


def test_a_mixed_batch_goes_where_each_row_says():
    never_gated, gated_, marked_ = claimed(key="k"), gated(key="g"), marked(key="k")

    found = rescue()

    assert {w.job_id for w in found.waiting} == {never_gated.job_id, gated_.job_id}
    assert [where(c) for c in (never_gated, marked_)] == [("queued", "unknown"), ("unknown", "unknown")]


def test_a_job_that_takes_down_every_worker_is_set_aside():
    job_id = a_job()
    for _ in range(2):
        gated(claimed(job_id))
        assert rescue().waiting
    last = gated(claimed(job_id))

    found = rescue()

    assert (found.waiting, found.dead) == ([], 1)
    assert where(last) == ("failed", "released")
    assert facts(last).letters == [("worker_lost", None)]
    assert facts(last).job.finished_at is not None


def test_only_what_had_passed_the_gate_and_was_not_marked_may_have_killed_its_worker():
    before_the_gate, prepared_or_not, marked_ = claimed(), gated(), marked()
    elsewhere = claimed(worker=OTHER_WORKER)

    rescue(WORKER, OTHER_WORKER)

    assert [facts(claim).job.deaths for claim in (before_the_gate, prepared_or_not, marked_)] == [0, 1, 0]
    assert facts(elsewhere).job.deaths == 1, "its worker held nothing else"


def test_of_many_that_waited_before_the_gate_none_is_to_blame():
    claims = [claimed() for _ in range(3)]

    rescue()

    assert [(facts(claim).job.deaths, facts(claim).job.attempts) for claim in claims] == [(0, 1)] * 3


def test_a_rescue_in_parts_blames_nobody_for_a_death_before_its_turn():
    on_trial = gated()
    waiting = [claimed() for _ in range(5)]

    rescues.rescue([WORKER], **LEASE | {"limit": 3})
    rescues.rescue([WORKER], **LEASE | {"limit": 3})

    assert facts(on_trial).job.deaths == 1
    assert [facts(claim).job.deaths for claim in waiting] == [0] * 5


def test_jobs_whose_workers_die_before_the_gate_do_not_go_round_for_ever():
    ids = [a_job(max_attempts=1) for _ in range(2)]
    for _ in range(1 + 2):
        assert len(transitions.claim(ids, worker=WORKER)) == 2
        assert len(rescue().waiting) == 2
    transitions.claim(ids, worker=WORKER)

    assert rescue().dead == 2


def test_a_suspect_that_was_prepared_without_harm_is_suspect_no_more():
    job_id = a_job()
    gated(claimed(job_id))
    rescue()
    again = gated(claimed(job_id))
    assert again.is_suspect

    assert transitions.acquit([again]) == {again.token}

    assert facts(job_id).job.deaths == 0
    rescue()
    assert facts(job_id).job.deaths == 1


def test_nobody_is_acquitted_under_a_claim_that_was_lost():
    job_id = a_job()
    lost = gated(claimed(job_id))
    rescue()

    with nothing_moves(job_id):
        assert transitions.acquit([lost]) == set()


def test_a_job_whose_workers_die_later_on_its_way_does_not_go_round_for_ever():
    """Its preparation is not to blame, so no single death is held against it; its attempts end all the same."""
    job_id = a_job(max_attempts=2)
    for _ in range(2 + 2):
        transitions.acquit([gated(claimed(job_id))])
        assert rescue().waiting
    transitions.acquit([gated(claimed(job_id))])

    assert rescue().dead == 1
    assert facts(job_id).letters == [("worker_lost", None)]


def test_a_poisonous_job_that_was_marked_is_unknown_and_not_dead():
    job_id = a_job()
    for _ in range(2):
        claimed(job_id)
        rescue()
    last = marked(claimed(job_id))

    rescue()

    assert where(last) == ("unknown", "unknown")


def test_a_poisonous_job_in_doubt_is_unknown_again_because_its_first_dot_may_be_out():
    first = sent_again()
    for _ in range(2):
        gated(claimed(first.job_id))
        assert rescue().waiting
    last = gated(claimed(first.job_id))

    assert rescue().unknown == 1

    assert where(last) == ("unknown", "unknown")
    assert facts(last).letters[-1] == ("unknown", None)


def test_a_poisonous_job_in_doubt_that_never_reached_the_gate_is_queued():
    first = sent_again()
    for _ in range(4):
        claimed(first.job_id)
        assert rescue().waiting

    assert where(first) == ("queued", "released")


def test_a_held_job_has_no_worker_to_be_rescued_from():
    waiting = held(behind=unknown(key="k"))

    with nothing_moves(waiting):
        assert len(rescue()) == 0


# ── The own sweep ─────────────────────────────────────────────────────────────────────────────


def test_a_living_worker_gives_back_what_it_does_not_know():
    known, unheard, marked_ = gated(), gated(), marked()
    beat()
    tokens = rescues.own_running(WORKER) - {known.token}

    found = rescues.sweep(WORKER, tokens)

    assert (len(found.waiting), found.unknown) == (1, 1)
    assert [where(c)[0] for c in (known, unheard, marked_)] == ["running", "queued", "unknown"]


def test_a_sweep_is_no_death_of_the_job():
    claim = gated()

    rescues.sweep(WORKER, {claim.token})

    assert where(claim) == ("queued", "released")
    assert facts(claim).job.deaths == 0


def test_a_worker_sweeps_only_what_is_its_own():
    theirs = gated(worker=OTHER_WORKER)

    with nothing_moves(theirs):
        assert len(rescues.sweep(WORKER, {theirs.token})) == 0


def test_a_sweep_of_a_trip_that_has_ended_meanwhile_moves_nothing():
    claim = sent()

    with nothing_moves(claim):
        assert len(rescues.sweep(WORKER, {claim.token})) == 0


# ── Who holds what ────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_holds_jobs_is_listed_even_when_its_row_is_gone():
    claimed(worker=WORKER)
    claimed(worker=OTHER_WORKER)
    beat(WORKER)

    holding = rescues.holding_workers()

    assert set(holding) == {WORKER, OTHER_WORKER}
    assert holding[WORKER] is not None
    assert holding[OTHER_WORKER] is None
