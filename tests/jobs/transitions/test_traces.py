"""Each trace of PROTOCOL.md that broke an earlier draft, played again on the real tables.

A zombie is a Claim that somebody kept. What the other side accepted is what was settled as sent, and the
audit after every test counts it. Trace 17 (partial RCPT) is told where SMTP is spoken, the splitting of a
poisoned group (15) where the recorder is tested.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from jobs import chores, columns, intake, queue, requests, rescues, resolutions, transitions
from jobs.errors import TooLate
from jobs.models import DeadLetter, Delivery, Job
from jobs.states import Decision, Outcome
from tests.jobs.transitions.beside import Pause, others, somebody_waits_for_a_lock, wait_until
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    WORKER,
    a_job,
    ago,
    an_owner,
    beat,
    claimed,
    decide,
    facts,
    failed,
    gate,
    gated,
    held,
    letter,
    mark,
    marked,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    set_job,
    settle,
    settlement,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db(transaction=True)


def cancel(of) -> None:
    job = facts(of).job
    transitions.cancel(job.pk, owner_id=job.owner_id)


# ── 1 ─────────────────────────────────────────────────────────────────────────────────────────


def test_trace_1_a_zombie_at_the_gate_cannot_mark_after_its_job_was_given_to_another():
    """W0 takes the row and pauses; J queued; W1 claims; W0 wakes and marks; W1 marks: accepted twice."""
    zombie = gated()
    rescue()
    second = gated(claimed(zombie.job_id, worker=OTHER_WORKER))

    assert not mark(zombie)
    assert mark(second)
    assert settle(second, Outcome.SENT) == "completed"

    assert facts(second).history == ["lost", "sent"]


def test_trace_1_a_zombie_cannot_mark_after_its_job_was_cancelled():
    """Rescuer queues J; client cancels: "cancelled"; W0 wakes, marks, dot: sent."""
    zombie = gated()
    rescue()
    cancel(zombie)

    with nothing_moves(zombie):
        assert not mark(zombie)
        assert settle(zombie, Outcome.TRANSIENT, marked=False) is None


def test_trace_1_the_row_of_the_dead_does_not_keep_its_key_waiting_for_ever():
    """Row stays `claimed` by the dead, J and every duplicate wait for ever."""
    zombie = gated(key="k")
    rescue()
    rival = claimed(key="k", worker=OTHER_WORKER)

    assert gate(rival).admitted == {rival.token}
    assert gate(claimed(zombie.job_id, worker=OTHER_WORKER)).put_back


# ── 2 ─────────────────────────────────────────────────────────────────────────────────────────


def test_trace_2_a_gate_that_waits_for_the_rescuer_finds_that_the_job_is_not_its_own_any_more(monkeypatch):
    """Rescuer's snapshot has no delivery row yet; gate inserts it; job `queued`, delivery `claimed`; sent."""
    zombie = claimed()
    pause = Pause(monkeypatch, rescues, "rescue_deliveries")
    with others() as them:
        rescuing = them.start(rescue)
        pause.wait()
        at_gate = them.start(gate, zombie)
        wait_until(somebody_waits_for_a_lock)
        pause.let_go()

        assert len(rescuing.result(20).waiting) == 1
        assert at_gate.result(20) == (set(), set(), set(), set(), set())

    cancel(zombie)
    assert not mark(zombie)
    assert where(zombie) == ("cancelled", None)


def test_trace_2_a_rescuer_skips_a_job_at_the_gate_and_finds_its_delivery_the_next_time():
    zombie = claimed()
    with others() as them:
        with transaction.atomic():
            gate(zombie)
            assert len(them.do(rescue)) == 0
        assert len(them.do(rescue)) == 1

    assert where(zombie) == ("queued", "released")
    assert not mark(zombie)


def test_trace_2_a_mark_that_commits_under_the_rescuers_eyes_makes_the_job_unknown(monkeypatch):
    """The rescuer's second statement must see what was committed after its first."""
    claim = gated()
    pause = Pause(monkeypatch, rescues, "rescue_deliveries")
    with others() as them:
        rescuing = them.start(rescue)
        pause.wait()
        assert mark(claim)
        pause.let_go()

        assert rescuing.result(20).unknown == 1

    assert where(claim) == ("unknown", "unknown")


# ── 3 ─────────────────────────────────────────────────────────────────────────────────────────


def test_trace_3_a_gate_does_not_trust_the_memory_of_its_worker():
    """W0 claims J; J queued; cancelled; W0: gate inserts the row for a job it no longer has; mark; dot."""
    zombie = claimed()
    rescue()
    cancel(zombie)

    with nothing_moves(zombie):
        assert gate(zombie) == (set(), set(), set(), set(), set())
        assert not mark(zombie)
    assert where(zombie) == ("cancelled", None)


def test_trace_3_while_a_gate_has_its_job_locked_nobody_moves_the_job():
    claim = claimed()
    with others() as them:
        with transaction.atomic():
            gate(claim)
            moving = them.start(transitions.put_back, [claim], wait_seconds=0)
            wait_until(somebody_waits_for_a_lock)
        assert moving.result(20) == {claim.token}

    assert where(claim) == ("scheduled", "released")


# ── 4 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("build", [gated, marked, unknown, sent])
def test_trace_4_the_gate_takes_no_row_but_a_released_one(build):
    """ON CONFLICT DO UPDATE must say WHERE state = 'released', nothing wider: "own row" resets `dot`."""
    owner = build(key="k")
    rival = claimed(key="k", worker=OTHER_WORKER)

    with nothing_moves(owner):
        assert gate(rival).admitted == set()
        assert gate(owner).admitted == set()


def test_trace_4_a_row_that_another_gate_takes_at_this_moment_is_not_taken_over():
    """The second gate looks before the first commits and sees no row: only the conflict tells it."""
    first, second = claimed(key="k"), claimed(key="k", worker=OTHER_WORKER)
    with others() as them:
        with transaction.atomic():
            gate(first)
            at_gate = them.start(gate, second)
            wait_until(somebody_waits_for_a_lock)
        assert at_gate.result(20).put_back == {second.token}

    assert mark(first)


def test_trace_4_a_row_released_by_a_cancelled_rival_is_free_for_all():
    first = gated(key="k")
    rescue()
    cancel(first)

    assert gated(key="k")


# ── 5 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Outcome.PERMANENT, Outcome.TRANSIENT, Outcome.UNKNOWN])
def test_trace_5_the_repeated_settlement_of_an_old_trip_does_not_match_the_new_one(outcome):
    """J attempt 1: 5xx, answer lost; requeued; attempt 1 again, 250; the retried 'permanent' matches: failed."""
    old = failed()
    resolutions.requeue(letter(old, "permanent"), by=None)
    new = marked(claimed(old.job_id))
    assert new.attempt == old.attempt

    with nothing_moves(new):
        assert settle(old, outcome) is None
        assert transitions.take_mark_back([old]) == set()
    assert settle(new, Outcome.SENT) == "completed"


def test_trace_5_another_job_of_the_same_key_is_not_settled_by_an_old_trip():
    old = failed(key="k")
    other = marked(key="k", worker=OTHER_WORKER)

    with nothing_moves(old, other):
        assert settle(old, Outcome.SENT) is None


# ── 6, 7 ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("build", [claimed, gated])
def test_trace_6_a_claim_whose_answer_was_lost_is_given_back_by_its_living_worker(build):
    """Claim commits; connection breaks; W0 knows nothing, beats on; the rescuer never looks."""
    unheard, known = build(), gated()
    beat()
    assert len(rescue()) == 0

    found = rescues.sweep(WORKER, rescues.own_running(WORKER) - {known.token})

    assert [w.job_id for w in found.waiting] == [unheard.job_id]
    assert where(known) == ("running", "claimed")


def test_trace_7_a_worker_that_was_rescued_from_before_is_rescued_from_again():
    """Rescuer declares W0 dead and forgets it; W0, only slow, claims J; kill -9; no worker row, no rescue."""
    gated()
    beat()
    transitions.leave(WORKER)
    rescue()
    late = claimed()

    assert list(rescues.holding_workers()) == [WORKER]
    assert [w.job_id for w in rescue().waiting] == [late.job_id]


# ── 8 ─────────────────────────────────────────────────────────────────────────────────────────


def test_trace_8_a_decision_between_the_look_and_the_hold_leaves_nobody_held_for_ever(monkeypatch):
    """J1's gate reads `unknown`; operator: mark_sent, wakes all held (none yet); J1 held; nobody wakes it."""
    first = unknown(key="k")
    second = claimed(key="k", worker=OTHER_WORKER)
    pause = Pause(monkeypatch, columns, "hold")
    with others() as them:
        at_gate = them.start(gate, second)
        pause.wait()
        decide(first, Decision.MARK_SENT)
        assert chores.wake_held(limit=10) == []
        pause.let_go()
        standing = at_gate.result(20)

    assert (standing.held, standing.put_back) == (set(), {second.token})
    assert where(second) == ("scheduled", "sent")


def test_trace_8_a_held_job_wakes_by_level_whenever_its_key_was_decided():
    first = unknown(key="k")
    decided_before = held(behind=first)
    decide(first, Decision.MARK_SENT)
    set_job(decided_before, updated_at=ago(3600))

    assert [w.job_id for w in chores.wake_held(limit=10)] == [decided_before.job_id]
    assert gate(claimed(decided_before.job_id)).duplicates


# ── 9 ─────────────────────────────────────────────────────────────────────────────────────────


def test_trace_9_after_send_again_a_job_is_not_cancelled():
    """mark; declared dead; send_again; client cancels: "cancelled"; the zombie's dot is accepted."""
    zombie = marked()
    rescue()
    decide(zombie, Decision.SEND_AGAIN)

    with pytest.raises(TooLate):
        cancel(zombie)
    assert settle(zombie, Outcome.SENT) == "completed"


def test_trace_9_after_send_again_a_job_does_not_expire():
    zombie = sent_again()
    set_job(zombie, expires_at=ago(60))

    assert claimed(zombie.job_id)


def test_trace_9_after_send_again_a_refusal_is_unknown_and_not_failed():
    zombie = sent_again()
    second = marked(claimed(zombie.job_id, worker=OTHER_WORKER))

    assert settle(second, Outcome.PERMANENT) == "unknown"

    with nothing_moves(second):
        assert settle(zombie, Outcome.SENT) is None
    assert facts(second).history == ["unknown", "permanent", "sent"]


# ── 10, 11 ────────────────────────────────────────────────────────────────────────────────────


def test_trace_10_drop_does_not_open_the_key():
    """J0 dot accepted, no reply; operator: drop, row released; J1 (same key) takes the row, sends."""
    zombie = unknown(key="k")
    waiting = held(behind=zombie)
    decide(zombie, Decision.DROP)
    late = claimed(key="k")

    assert gate(late).held
    chores.wake_held(limit=10)

    assert [facts(c).letters for c in (waiting, late)] == [[("dropped", None)]] * 2
    assert settle(zombie, Outcome.SENT) == "completed"


def test_trace_11_an_unknown_is_not_requeued_and_so_never_held_behind_itself():
    claim = unknown()

    with nothing_moves(claim), pytest.raises(TooLate):
        resolutions.requeue(letter(claim), by=None)
    decide(claim, Decision.DROP)
    with nothing_moves(claim), pytest.raises(TooLate):
        resolutions.requeue(letter(claim), by=None)


# ── 12, 13, 14 ────────────────────────────────────────────────────────────────────────────────


def test_trace_12_after_a_4xx_to_the_dot_the_next_provider_can_be_marked():
    """The row is already `dot`; the second provider's mark finds no `claimed`: running for ever, row `dot`."""
    claim = marked()
    assert not mark(claim, "backup")

    transitions.take_mark_back([claim])

    assert mark(claim, "backup")
    assert settle(claim, Outcome.SENT) == "completed"


def test_trace_13_another_jobs_token_in_l1_means_ask_l2():
    """L1 holds another job's id: waits for ever (until the TTL)."""
    key = f"trace 13 {uuid4()}"
    first, second = claimed(key=key), claimed(key=key)
    assert queue.ask_gate([first]) == set()

    said_sent = queue.ask_gate([second])

    assert said_sent == set()
    assert transitions.pass_gate([second], said_sent=said_sent, wait_seconds=1).admitted == {second.token}


def test_trace_13_only_sent_in_l1_is_an_answer():
    key = f"trace 13 {uuid4()}"
    first = sent(key=key)
    queue.remember_sent([first.dedupe_hash])
    second = claimed(key=key)

    assert queue.ask_gate([second]) == {second.token}


def test_trace_14_a_key_twice_in_a_batch_lets_one_in_and_puts_the_other_back():
    """Error 21000, the whole batch fails, every time."""
    first, second, alone = claimed(key="k"), claimed(key="k"), claimed()

    standing = gate(second, first, alone)

    assert standing.admitted == {first.token, alone.token}
    assert standing.put_back == {second.token}
    assert facts(second).job.attempts == 0


# ── 15, 16 ────────────────────────────────────────────────────────────────────────────────────


def test_trace_15_a_poison_row_leaves_the_others_as_they_were_to_be_written_again():
    """A NUL byte in an SMTP reply makes the commit of everybody's outcomes fail, for ever."""
    good, poisoned = marked(), marked()
    group = [settlement(good, Outcome.SENT), settlement(poisoned, Outcome.TRANSIENT, detail="\0")]

    with nothing_moves(good, poisoned), pytest.raises((DatabaseError, ValueError)):
        transitions.settle(group)

    assert transitions.settle(group[:1]) == {good.token: "completed"}
    assert transitions.settle([settlement(poisoned, Outcome.TRANSIENT, detail="?")]) == {poisoned.token: "scheduled"}


def test_trace_16_a_decision_about_an_episode_does_not_decide_the_next_one():
    """Page open on unknown #1; another: send_again; unknown #2; the first click decides what he never saw."""
    first = unknown()
    page = letter(first)
    decide(first, Decision.SEND_AGAIN)
    second = unknown(claimed(first.job_id))

    for decision in Decision:
        with nothing_moves(second), pytest.raises(TooLate):
            resolutions.resolve(page, decision, by=an_owner().pk)


def test_trace_16_the_claim_is_the_episode_even_if_its_dead_letter_had_been_left_open():
    first = unknown()
    page = letter(first)
    decide(first, Decision.SEND_AGAIN)
    second = unknown(claimed(first.job_id))
    DeadLetter.objects.filter(pk=page).update(resolution=None, resolved_at=None)

    with nothing_moves(second), pytest.raises(TooLate):
        resolutions.resolve(page, Decision.MARK_SENT, by=an_owner().pk)

    DeadLetter.objects.filter(pk=page).update(resolution="send_again", resolved_at=ago(0))


# ── 18, 19 ────────────────────────────────────────────────────────────────────────────────────


def test_trace_18_a_job_that_was_pushed_again_is_not_found_lost_on_every_round():
    """A re-pushed id goes to the tail but its age stays: the list grows without bound."""
    job_id = a_job()
    set_job(job_id, pushed_at=ago(60))

    rounds = [len(chores.find_lost("default", head=[], grace_seconds=5, limit=10)) for _ in range(3)]

    assert rounds == [1, 0, 0]


def test_trace_18_no_more_are_pushed_again_than_the_limit_of_a_run():
    for _ in range(5):
        set_job(a_job(), pushed_at=ago(60))

    rounds = [len(chores.find_lost("default", head=[], grace_seconds=5, limit=2)) for _ in range(4)]

    assert rounds == [2, 2, 1, 0]


def test_trace_19_a_key_that_redis_remembers_and_postgresql_does_not_is_accepted_as_new():
    """A replay answered from Redis alone is a 2xx without a row if PostgreSQL was restored."""
    request = requests.read({"email": "ann@example.org", "name": "Ann"}, idempotency_key=f"trace 19 {uuid4()}")
    first = intake.accept(request, owner_id=an_owner().pk, correlation_id="c")
    Job.objects.all().delete()

    again = intake.accept(request, owner_id=an_owner().pk, correlation_id="c")

    assert not again.is_replay
    assert again.job_id != first.job_id
    assert Job.objects.filter(pk=again.job_id).exists()
    assert not Delivery.objects.exists()
