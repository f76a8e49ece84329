"""Two at once, where recipients are suppressed. Whoever wins, the books balance afterwards."""

from __future__ import annotations

import pytest
from django.db import transaction

from jobs import columns, omissions, rescues, suppressions
from jobs.models import Suppression
from jobs.states import SuppressionReason
from tests.jobs.transitions.beside import Pause, others
from tests.jobs.transitions.builders import LEASE, OTHER_WORKER, WORKER, an_owner, claimed, facts, gate, where
from tests.jobs.transitions.test_races import ROUNDS, at_once

pytestmark = pytest.mark.django_db(transaction=True)
MANUAL = SuppressionReason.MANUAL


def listed(**columns):
    """A claim that the gate would not let in alone, for its only recipient is on the list."""
    suppressions.add(an_owner().pk, ["ann@example.org"], reason=MANUAL)
    claim = claimed(**columns)
    assert gate(claim).suppressed == {claim.token}
    return claim


def test_two_that_add_the_same_addresses_share_them():
    addresses = [f"a{number}@example.org" for number in range(50)]
    owner = an_owner().pk
    with others() as them:
        for _ in range(ROUNDS):
            Suppression.objects.all().delete()
            added = at_once(
                them,
                lambda: suppressions.add(owner, addresses, reason=MANUAL),
                lambda: suppressions.add(owner, addresses[::-1], reason=MANUAL),
            )

            assert sum(added) == Suppression.objects.count() == 50


def test_a_rescue_and_an_ending_do_not_both_happen():
    with others() as them:
        for _ in range(ROUNDS):
            claim = listed()

            found, rescue = at_once(
                them,
                lambda claim=claim: omissions.leave_out([claim], wait_seconds=1.0),
                lambda: rescues.rescue([WORKER], **LEASE),
            )

            assert (len(found.ended), len(rescue)) in {(1, 0), (0, 1)}
            assert where(claim)[0] == ("failed" if found.ended else "queued")


def test_a_rescue_that_comes_in_the_middle_of_an_ending_finds_nothing(monkeypatch):
    claim = listed()
    pause = Pause(monkeypatch, columns, "suppress_jobs")
    with others() as them:
        ending = them.start(omissions.leave_out, [claim], wait_seconds=1.0)
        pause.wait()

        rescue = them.do(rescues.rescue, [WORKER], **LEASE)  # the job is locked: it passes by

        pause.let_go()
        assert (len(rescue), len(ending.result(20).ended)) == (0, 1)
    assert facts(claim).where == ("failed", None)


def test_of_two_of_one_key_that_leave_somebody_out_one_is_let_in():
    suppressions.add(an_owner().pk, ["ann@example.org"], reason=MANUAL)
    both = ["ann@example.org", "bob@example.org"]
    with others() as them:
        for number in range(ROUNDS):
            mine = claimed(key=f"k{number}", recipients=both)
            theirs = claimed(key=f"k{number}", recipients=both, worker=OTHER_WORKER)

            found = at_once(
                them,
                lambda mine=mine: omissions.leave_out([mine], wait_seconds=1.0),
                lambda theirs=theirs: omissions.leave_out([theirs], wait_seconds=1.0),
            )

            assert sorted(len(one.admitted) for one in found) == [0, 1]
            assert sorted(len(one.put_back) for one in found) == [0, 1]


def test_a_list_that_is_being_written_holds_nobody_up_at_the_gate():
    """Whoever is on it counts from the commit on."""
    claim = claimed(recipients=["ann@example.org"])
    with others() as them, transaction.atomic():
        suppressions.add(an_owner().pk, ["ann@example.org"], reason=MANUAL)

        assert them.do(gate, claim).admitted == {claim.token}
