"""Adoption: what a dead worker had been answered is settled in its name, as a late answer."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import OperationalError

from jobs.states import Decision, Outcome
from tests.jobs.transitions import builders as build
from workers.adoption import adopt
from workers.journal import Journal

pytestmark = pytest.mark.usefixtures("committed", "bell")

DEAD = UUID(int=9)


def left_behind(folder, *settlements) -> None:
    """By a worker that is no more."""
    journal = Journal(folder, DEAD)
    for settlement in settlements:
        journal.write(settlement)
    journal.close()


def sent(claim, **facts):
    return build.settlement(claim, Outcome.SENT, result={"provider": "main"}, **facts)


def test_an_answer_is_settled_before_anybody_misses_its_worker(tmp_path, bell, moved):
    accepted, refused = build.marked(), build.marked()
    left_behind(tmp_path, sent(accepted), build.settlement(refused, Outcome.PERMANENT))

    adopt(tmp_path)

    assert build.where(accepted) == ("completed", "sent")
    assert build.where(refused) == ("failed", "released")
    assert bell.get(f"sendonce:gate:{accepted.dedupe_hash.hex()}") == b"sent"
    assert moved("jobs_processed_total", status="completed", type="email") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_answer_closes_the_unknown_that_its_workers_death_made(tmp_path):
    claim = build.marked()
    build.rescue()
    assert build.where(claim) == ("unknown", "unknown")
    left_behind(tmp_path, sent(claim))

    adopt(tmp_path)

    assert build.where(claim) == ("completed", "sent")
    assert build.facts(claim).letters == [("unknown", "late_reply")]
    assert build.facts(claim).history == ["unknown", "sent"]


def test_what_was_settled_or_decided_meanwhile_stays_as_it_is(tmp_path):
    settled, decided = build.sent(), build.unknown()
    build.decide(decided, Decision.MARK_SENT)
    left_behind(tmp_path, sent(settled), build.settlement(decided, Outcome.TRANSIENT))

    with build.nothing_moves(settled, decided):
        adopt(tmp_path)


def test_a_row_that_postgresql_will_not_take_takes_nobody_with_it(tmp_path):
    good, poisoned, also_good = build.marked(), build.marked(), build.marked()
    left_behind(tmp_path, sent(good), sent(poisoned, code=2**40), sent(also_good))

    adopt(tmp_path)

    assert [build.where(claim)[0] for claim in (good, poisoned, also_good)] == ["completed", "running", "completed"]
    assert list(tmp_path.iterdir()) == []


def test_while_postgresql_is_away_the_answer_waits(tmp_path, postgres):
    claim = build.marked()
    left_behind(tmp_path, sent(claim))

    postgres.go_away()
    with pytest.raises(OperationalError):
        adopt(tmp_path)
    postgres.come_back()
    adopt(tmp_path)

    assert build.where(claim) == ("completed", "sent")
