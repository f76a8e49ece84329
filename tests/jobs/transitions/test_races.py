"""Two callers at once, each on a connection of their own. Whoever wins, the books balance afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from jobs import chores, rescues, resolutions, transitions
from jobs.claims import Claim
from jobs.database import move
from jobs.errors import TooLate
from jobs.models import Attempt, DeadLetter, Delivery, Job
from jobs.sql import run
from jobs.states import Decision, Outcome
from tests.jobs.transitions.beside import Others, others
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    WORKER,
    a_job,
    ago,
    an_owner,
    claimed,
    decide,
    facts,
    failed,
    gate,
    gated,
    letter,
    marked,
    rescue,
    set_job,
    settle,
    settlement,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


def at_once(them: Others, *acts: Callable[[], Any]) -> list[Any]:
    """Every act starts in its own transaction at the same moment; their answers, or what they raised."""
    start = Barrier(len(acts))

    def on_your_marks(act: Callable[[], Any]) -> Any:
        connection.ensure_connection()
        start.wait(20)
        try:
            return act()
        except TooLate as error:
            return error

    futures = [them.start(on_your_marks, act) for act in acts]
    return [future.result(30) for future in futures]


def test_two_workers_that_claim_the_same_ids_share_them_without_one_claimed_twice():
    with others() as them:
        for _ in range(ROUNDS):
            ids = [a_job() for _ in range(12)]
            backwards = ids[::-1]

            mine, theirs = at_once(
                them,
                lambda ids=ids: transitions.claim(ids, worker=WORKER),
                lambda ids=backwards: transitions.claim(ids, worker=OTHER_WORKER),
            )

            assert sorted(c.job_id for c in mine + theirs) == ids
            assert {facts(job_id).job.attempts for job_id in ids} == {1}


def test_workers_without_redis_skip_what_others_are_taking():
    ids = {a_job() for _ in range(12)}
    with others() as them:
        taken = at_once(
            them,
            *(lambda w=w: transitions.claim_waiting(["default"], limit=6, worker=w) for w in (WORKER, OTHER_WORKER)),
        )

    assert {c.job_id for batch in taken for c in batch} <= ids
    assert sum(map(len, taken)) == len({c.job_id for batch in taken for c in batch})


def test_of_two_gates_with_the_same_key_at_once_one_lets_in():
    with others() as them:
        for number in range(ROUNDS):
            first, second = (claimed(key=f"k{number}", worker=w) for w in (WORKER, OTHER_WORKER))

            standings = at_once(them, lambda c=first: gate(c), lambda c=second: gate(c))

            assert sorted(len(s.admitted) for s in standings) == [0, 1]
            assert sorted(len(s.put_back) for s in standings) == [0, 1]


def test_two_gates_with_the_same_keys_in_opposite_order_both_get_through():
    with others() as them:
        for number in range(ROUNDS):
            keys = [f"{number} {letter_}" for letter_ in "abcdef"]
            mine = [claimed(key=k, worker=WORKER) for k in keys]
            theirs = [claimed(key=k, worker=OTHER_WORKER) for k in reversed(keys)]

            standings = at_once(them, lambda c=mine: gate(*c), lambda c=theirs: gate(*c))

            assert len(standings[0].admitted | standings[1].admitted) == len(keys)


def test_a_gate_does_not_wait_for_rows_that_others_are_busy_with():
    """Else a group of settlements and a gate with its duplicates could wait for each other, a second each time."""
    busy = marked(key="k")
    duplicate = claimed(key="k", worker=OTHER_WORKER)
    with others() as them, transaction.atomic():
        settle(busy, Outcome.SENT)
        standing = them.do(gate, duplicate)

    assert standing.put_back == {duplicate.token}


def test_cancel_against_claim_has_one_winner():
    owner_id = an_owner().pk
    with others() as them:
        for _ in range(ROUNDS):
            job_id = a_job()

            refusal, claims = at_once(
                them,
                lambda j=job_id: transitions.cancel(j, owner_id=owner_id),
                lambda j=job_id: transitions.claim([j], worker=WORKER),
            )

            assert (refusal is None) == (claims == [])
            assert where(job_id)[0] == ("running" if claims else "cancelled")


@pytest.mark.parametrize("outcome", [Outcome.SENT, Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.UNKNOWN])
def test_a_rescue_against_a_settlement_never_loses_what_the_other_side_said(outcome):
    """Either order is right: after the rescue the late reply closes the unknown by itself."""
    expected = {"sent": "completed", "transient": "scheduled", "permanent": "failed", "unknown": "unknown"}[outcome]
    with others() as them:
        for _ in range(ROUNDS):
            claims = [marked() for _ in range(4)]

            at_once(
                them, lambda c=claims: transitions.settle([settlement(x, outcome) for x in c]), lambda: rescue(WORKER)
            )

            assert {where(c)[0] for c in claims} == {expected}


def test_a_rescue_against_a_mark_knows_whether_it_was_marked():
    with others() as them:
        for _ in range(ROUNDS):
            claim = gated()

            moved, found = at_once(them, lambda c=claim: transitions.mark([(c, "main")]), lambda: rescue(WORKER))

            assert where(claim) == (("unknown", "unknown") if moved else ("queued", "released"))
            assert len(found) == 1


def test_a_rescue_against_a_gate_leaves_no_row_behind():
    with others() as them:
        for _ in range(ROUNDS):
            claim = claimed()

            standing, found = at_once(them, lambda c=claim: gate(c), lambda: rescue(WORKER))

            status, state = where(claim)
            assert (status, state) in {("running", "claimed"), ("queued", None), ("queued", "released")}
            assert bool(len(found)) == (status == "queued")
            rescue()
            assert not transitions.mark([(claim, "main")])
            assert standing.put_back == set()


def test_two_rescuers_at_once_rescue_each_job_once():
    with others() as them:
        claims = [marked() for _ in range(6)] + [gated() for _ in range(6)]

        found = at_once(them, rescue, rescue)

    assert sum(f.unknown for f in found) + sum(len(f.waiting) for f in found) <= len(claims)
    rescue()
    assert {where(c)[0] for c in claims[:6]} == {"unknown"}
    assert [facts(c).job.deaths for c in claims] == [0] * 6 + [1] * 6


def test_a_decision_against_a_late_reply_has_one_winner():
    with others() as them:
        for _ in range(ROUNDS):
            claim = unknown()
            dead_letter = letter(claim)

            refusal, moved = at_once(
                them,
                lambda d=dead_letter: resolutions.resolve(d, Decision.MARK_SENT, by=None),
                lambda c=claim: settle(c, Outcome.PERMANENT),
            )

            assert isinstance(refusal, TooLate) == (moved == "failed")
            assert where(claim) == (("failed", "released") if moved else ("completed", "sent"))


def test_of_two_people_who_decide_at_once_one_is_too_late():
    with others() as them:
        for _ in range(ROUNDS):
            dead_letter = letter(unknown())

            answers = at_once(
                them,
                lambda d=dead_letter: resolutions.resolve(d, Decision.MARK_SENT, by=None),
                lambda d=dead_letter: resolutions.resolve(d, Decision.SEND_AGAIN, by=None),
            )

            assert sum(isinstance(a, TooLate) for a in answers) == 1


def test_requeue_against_discard_has_one_winner():
    with others() as them:
        for _ in range(ROUNDS):
            claim = failed()
            dead_letter = letter(claim, "permanent")

            answers = at_once(
                them,
                lambda d=dead_letter: resolutions.requeue(d, by=None),
                lambda d=dead_letter: resolutions.discard(d, by=None),
            )

            assert sum(isinstance(a, TooLate) for a in answers) == 1
            requeued = not isinstance(answers[0], TooLate)
            assert where(claim)[0] == ("queued" if requeued else "failed")


def test_two_clocks_promote_each_job_once():
    ids = [a_job(delay_seconds=60.0) for _ in range(30)]
    Job.objects.update(run_at=ago(1))
    with others() as them:
        batches = at_once(them, *[lambda: chores.promote(limit=30)] * 3)

    promoted = [w.job_id for batch in batches for w in batch] + [w.job_id for w in chores.promote(limit=30)]
    assert sorted(promoted) == sorted(ids)


def test_two_reconcilers_push_a_lost_job_once():
    job_id = a_job()
    set_job(job_id, pushed_at=ago(60))
    with others() as them:
        found = at_once(them, *[lambda: chores.find_lost("default", head=[], grace_seconds=5, limit=9)] * 3)

    assert sum(map(len, found)) == 1


def test_waking_against_a_new_unknown_of_the_key_leaves_nobody_lost():
    with others() as them:
        for number in range(ROUNDS):
            first = unknown(key=f"k{number}")
            waiting = claimed(key=f"k{number}")
            assert gate(waiting).held
            at_once(them, lambda c=first: decide(c, Decision.SEND_AGAIN), lambda: chores.wake_held(limit=9))
            chores.wake_held(limit=9)

            assert where(waiting)[0] == "queued"


# ── Deadlocks ─────────────────────────────────────────────────────────────────────────────────


def test_a_deadlock_does_not_escape_a_move():
    """PostgreSQL ends one of the two with 40P01: nothing happened, so the move is made again."""
    first, second = a_job(), a_job()
    both_hold_one = Barrier(2)
    tries: list[UUID] = []

    @move
    def lock_both(one: UUID, other: UUID) -> None:
        run("lock_jobs", ids=[one])
        if tries.count(one) == 0:
            tries.append(one)
            both_hold_one.wait(20)
        else:
            tries.append(one)
        run("lock_jobs", ids=[other])
        set_job(other, correlation_id=str(one))

    with others() as them:
        at_once(them, lambda: lock_both(first, second), lambda: lock_both(second, first))

    assert len(tries) == 3
    assert [facts(j).job.correlation_id for j in (first, second)] == [str(second), str(first)]


def test_an_error_that_says_no_is_not_repeated():
    calls: list[int] = []

    @move
    def refused() -> None:
        calls.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1ms'")
            cursor.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [job_id])

    job_id = a_job()
    with others() as them, transaction.atomic():
        run("lock_jobs", ids=[job_id])
        with pytest.raises(OperationalError):
            them.do(refused)

    assert calls == [1]


def test_a_connection_that_broke_is_opened_again_by_the_next_beat():
    """A heartbeat that stayed on a broken connection would let every job of its worker be rescued."""

    def beats() -> list[bool]:
        transitions.beat(WORKER, name="w", state="busy", in_flight=0, completed=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        with others(1) as killer:
            killer.do(_end_backend, pid)
        answers = []
        for _ in range(2):
            try:
                transitions.beat(WORKER, name="w", state="busy", in_flight=0, completed=0)
            except OperationalError:
                answers.append(False)
            else:
                answers.append(True)
        return answers

    with others() as them:
        assert them.do(beats) == [False, True]


def _end_backend(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


# ── Everything at once ────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_everybody_does_at_once_nothing_is_accepted_twice_and_the_books_balance(seed):
    """Workers that forget, pause and repeat, rescuers, clients and operators over few keys; seeded per thread."""
    owner_id = an_owner().pk
    for number in range(40):
        a_job(key=f"k{number % 10}", max_attempts=3, on_unknown="hold")

    with others(5) as them:
        at_once(
            them,
            *(lambda n=n: _a_worker(random.Random(seed * 100 + n)) for n in range(3)),
            lambda: _everybody_else(random.Random(seed * 100 + 50), owner_id),
            lambda: _everybody_else(random.Random(seed * 100 + 51), owner_id),
        )

    assert Attempt.objects.filter(outcome="sent").exists()
    assert not Delivery.objects.filter(state__in=["claimed", "dot"]).exclude(job_id__in=_running()).exists()


def _running() -> Any:
    return Job.objects.filter(status="running").values("id")


def _a_worker(dice: random.Random) -> None:
    """Holds claims for a while and does with each whatever a worker, or a zombie, may do next."""
    me = UUID(int=dice.getrandbits(128), version=4)
    at_gate: list[Claim] = []
    may_send: list[Claim] = []
    wrote_dot: list[Claim] = []
    for _ in range(60):
        act = dice.randrange(5)
        if act == 0:
            ids = list(Job.objects.filter(status="queued").values_list("id", flat=True)[:20])
            at_gate += transitions.claim(dice.sample(ids, min(len(ids), 4)), worker=me)
        elif act == 1 and at_gate:
            standing = gate(*at_gate)
            may_send += [c for c in at_gate if c.token in standing.admitted]
            at_gate = []
        elif act == 2 and may_send:
            moved = transitions.mark([(c, "main") for c in may_send])
            wrote_dot += [c for c in may_send if c.token in moved]
            may_send = []
        elif act == 3 and wrote_dot:
            dice.shuffle(wrote_dot)
            group, wrote_dot = wrote_dot[:3], wrote_dot[3:]
            outcomes = [Outcome.SENT, Outcome.SENT, Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.UNKNOWN]
            settlements = [settlement(c, dice.choice(outcomes), worker=me) for c in group]
            transitions.settle(settlements)
            if dice.random() < 0.3:
                transitions.settle(settlements)
        elif act == 4 and may_send:
            transitions.put_back([may_send.pop()], wait_seconds=0)


def _everybody_else(dice: random.Random, owner_id: int) -> None:
    for _ in range(60):
        act = dice.randrange(6)
        if act == 0:
            rescues.rescue(list(rescues.holding_workers()), lease_seconds=30.0, poison_deaths=3, limit=5)
        elif act == 1:
            chores.promote(limit=10)
        elif act == 2:
            chores.wake_held(limit=5)
        elif act == 3:
            job = dice.choice(list(Job.objects.values_list("id", flat=True)))
            with suppress(TooLate):
                transitions.cancel(job, owner_id=owner_id)
        else:
            letters = list(DeadLetter.objects.filter(resolution=None).values_list("id", "reason"))
            if letters:
                dead_letter, reason = dice.choice(letters)
                with suppress(TooLate):
                    if reason == "unknown":
                        resolutions.resolve(dead_letter, dice.choice(list(Decision)), by=None)
                    else:
                        resolutions.requeue(dead_letter, by=None)
