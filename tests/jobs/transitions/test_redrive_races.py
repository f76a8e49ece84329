"""Many decided at once, while others decide, reply or send. Each dead letter is decided once, or not at all."""

from __future__ import annotations

import pytest
from django.db import transaction

from jobs import bulk_decisions, resolutions, transitions
from jobs.errors import InFlight, TooLate
from jobs.models import DeadLetter
from jobs.resolutions import Outlook
from jobs.states import Decision, Outcome, Resolution
from tests.jobs.transitions.beside import Pause, others, somebody_waits_for_a_lock, wait_until
from tests.jobs.transitions.builders import (
    an_owner,
    claimed,
    facts,
    failed,
    gate,
    letter,
    mark,
    sent,
    settle,
    settlement,
    unknown,
    where,
)
from tests.jobs.transitions.test_races import ROUNDS, at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bell")]

EVERYTHING = DeadLetter.objects.all()
OVERRIDE = frozenset({Outlook.UNKNOWN, Outlook.ALREADY_SENT})


def redrive(by: str, **how) -> bulk_decisions.Tally:
    given = {"by": an_owner(by).pk, "note": f"{by} said so."}
    return bulk_decisions.decide(EVERYTHING.all(), Resolution.REQUEUED, **given | how)


def test_two_operators_who_redrive_the_same_set_at_once_decide_each_once(monkeypatch):
    monkeypatch.setattr(bulk_decisions, "BATCH", 5)
    an_owner("eve"), an_owner("bob")
    with others() as them:
        for number in range(ROUNDS):
            claims = [failed() for _ in range(12)]
            claims.append(unknown(key=f"unknown {number}"))
            claims.append(failed(key=f"sent {number}"))
            sent(key=f"sent {number}")
            before = DeadLetter.objects.filter(resolution=None).count()

            tallies = at_once(
                them, lambda: redrive("eve", overrides=OVERRIDE), lambda: redrive("bob", overrides=OVERRIDE)
            )

            assert sum(tally.decided for tally in tallies) == before == len(claims)
            for tally, name in zip(tallies, ("eve", "bob"), strict=True):
                mine = DeadLetter.objects.filter(resolved_by__username=name, job_id__in=[c.job_id for c in claims])
                assert mine.count() == tally.decided
            assert {where(claim)[0] for claim in claims} == {"queued"}


def test_redriving_and_discarding_the_same_set_at_once_decides_each_one_way():
    with others() as them:
        for _ in range(ROUNDS):
            claims = [failed() for _ in range(12)]
            letters = [letter(claim, "permanent") for claim in claims]

            redriven, discarded = at_once(
                them,
                lambda ids=letters: resolutions.decide(ids, Resolution.REQUEUED, by=None),
                lambda ids=letters[::-1]: resolutions.decide(ids, Resolution.DISCARDED, by=None),
            )

            assert redriven.done | discarded.done == set(letters)
            assert not redriven.done & discarded.done
            for claim, dead_letter in zip(claims, letters, strict=True):
                assert where(claim)[0] == ("queued" if dead_letter in redriven.done else "failed")


def test_a_late_reply_between_preview_and_redrive_is_not_sent_again():
    claim, silent = unknown(), unknown()
    preview = bulk_decisions.preview(EVERYTHING.all(), Resolution.REQUEUED, overrides=OVERRIDE)
    settle(claim, Outcome.SENT)

    done = redrive("eve", overrides=OVERRIDE)

    assert (preview.decided, preview.counts) == (2, {Outlook.UNKNOWN: 2})
    assert (done.decided, done.counts) == (1, {Outlook.UNKNOWN: 1, Outlook.ALREADY_DECIDED: 1})
    assert (where(claim), where(silent)) == (("completed", "sent"), ("queued", "released"))
    assert facts(claim).letters == [("unknown", "late_reply")]


def test_late_replies_against_a_redrive_with_override_close_or_are_sent_again_never_both_lost():
    """The reply is first: nothing is sent again. The redrive is first: the reply still completes the job."""
    with others() as them:
        for _ in range(ROUNDS):
            claims = [unknown() for _ in range(6)]
            letters = [letter(claim) for claim in claims]

            decided, _ = at_once(
                them,
                lambda ids=letters: resolutions.decide(ids, Resolution.REQUEUED, by=None, overrides=OVERRIDE),
                lambda c=claims: transitions.settle([settlement(x, Outcome.SENT) for x in c]),
            )

            assert {where(claim) for claim in claims} == {("completed", "sent")}
            for claim, dead_letter in zip(claims, letters, strict=True):
                expected = "send_again" if dead_letter in decided.done else "late_reply"
                assert facts(claim).letters == [("unknown", expected)]


def test_a_rival_that_was_sent_between_preview_and_redrive_is_seen():
    claim = failed(key="k")
    preview = bulk_decisions.preview(EVERYTHING.all(), Resolution.REQUEUED)
    sent(key="k")

    done = redrive("eve")

    assert (preview.decided, preview.counts) == (1, {Outlook.WOULD_SEND: 1})
    assert (done.decided, done.counts) == (0, {Outlook.ALREADY_SENT: 1})
    assert where(claim) == ("failed", "sent")


def test_a_rival_that_takes_the_key_between_the_look_and_the_requeue_keeps_it(monkeypatch):
    """The job's lock does not hold the key's row: the guard of the requeue itself says no."""
    claim, free = failed(key="k"), failed()
    rival = claimed(key="k")
    pause = Pause(monkeypatch, resolutions, "requeue_jobs")
    with others() as them:
        redriving = them.start(redrive, "eve")
        pause.wait()
        assert gate(rival).admitted == {rival.token}
        pause.let_go()
        tally = redriving.result(20)

    assert tally.taken == {Outlook.WOULD_SEND: 1}
    assert tally.left == {Outlook.IN_FLIGHT: 1}
    assert facts(claim).letters == [("permanent", None)]
    assert (where(claim)[0], where(free)[0]) == ("failed", "queued")


def test_one_requeue_that_a_rival_overtakes_is_told_so(monkeypatch):
    claim, rival = failed(key="k"), claimed(key="k")
    pause = Pause(monkeypatch, resolutions, "requeue_jobs")
    with others() as them:
        requeueing = them.start(resolutions.requeue, letter(claim, "permanent"), by=None)
        pause.wait()
        assert gate(rival).admitted == {rival.token}
        pause.let_go()
        with pytest.raises(InFlight, match="Another job of the same key is on its way"):
            requeueing.result(20)


def test_requeue_against_the_gate_of_a_rival_of_its_key_sends_once():
    with others() as them:
        for number in range(ROUNDS):
            key = f"k{number}"
            dead, rival = failed(key=key), claimed(key=key)
            dead_letter = letter(dead, "permanent")

            requeued, standing = at_once(
                them,
                lambda d=dead_letter: resolutions.requeue(d, by=None),
                lambda c=rival: gate(c),
            )

            assert standing.admitted == {rival.token}
            assert mark(rival)
            assert settle(rival, Outcome.SENT) == "completed"
            if isinstance(requeued, TooLate):
                assert where(dead) == ("failed", "sent")
            else:  # the requeue was first, and its own gate finds what the rival sent
                again = claimed(dead.job_id)
                assert gate(again).duplicates == {again.token}


def test_an_override_waits_for_whoever_holds_the_job_and_decides_by_what_it_then_finds():
    claim = failed(key="k")
    sent(key="k")
    dead_letter = letter(claim, "permanent")
    with others() as them:
        with transaction.atomic():
            resolutions.discard(dead_letter, by=None)
            overriding = them.start(redrive, "eve", overrides=OVERRIDE)
            wait_until(somebody_waits_for_a_lock)
        tally = overriding.result(20)

    assert tally.counts == {Outlook.ALREADY_DECIDED: 1}
    assert facts(claim).letters == [("permanent", "discarded")]


def test_unknowns_decided_one_by_one_and_all_together_at_once_are_decided_once():
    with others() as them:
        for _ in range(ROUNDS):
            claims = [unknown() for _ in range(6)]
            letters = [letter(claim) for claim in claims]

            def one_by_one(ids=letters):
                return [_or_too_late(lambda d=d: resolutions.resolve(d, Decision.DROP, by=None)) for d in ids[::-1]]

            singles, many = at_once(
                them, one_by_one, lambda ids=letters: resolutions.decide(ids, Resolution.MARK_SENT, by=None)
            )

            dropped = [not isinstance(answer, TooLate) for answer in singles]
            assert sum(dropped) + len(many.done) == len(letters)
            for claim, dead_letter in zip(claims, letters, strict=True):
                assert where(claim)[0] == ("completed" if dead_letter in many.done else "failed")


def _or_too_late(act):
    try:
        return act()
    except TooLate as error:
        return error
