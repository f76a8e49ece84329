"""Adoption: what a dead worker had been answered is settled in its name, as a late answer."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from django.db import OperationalError
from msgspec.structs import replace

from jobs.models import Attempt
from jobs.states import Decision, Outcome
from tests.jobs.transitions import builders as build
from workers.adoption import Heir
from workers.journal import Journal

pytestmark = pytest.mark.usefixtures("committed", "bell")

DEAD = build.WORKER


def left_behind(folder, *settlements) -> None:
    """By a worker that is no more."""
    journal = Journal(folder, DEAD)
    for settlement in settlements:
        journal.write(settlement)
    journal.close()


def adopt(folder) -> None:
    Heir(folder, tick=lambda: None).adopt()


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


def test_one_that_postgresql_fails_on_is_left_and_stands_in_nobodys_way(tmp_path):
    good, broken = build.marked(), build.marked()
    left_behind(tmp_path, sent(good), sent(broken))
    heir, ticks = Heir(tmp_path, tick=lambda: ticks.append(1)), []

    with failing_on(broken):
        heir.adopt()
        heir.adopt()
    assert [build.where(claim)[0] for claim in (good, broken)] == ["completed", "running"]
    assert len(ticks) == 3
    adopt(tmp_path)

    assert build.where(broken) == ("completed", "sent")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def failing_on(claim):
    build.sql(
        "CREATE FUNCTION corrupt() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'torn page' USING ERRCODE = 'XX001'; END $$"
    )
    build.sql(
        f"CREATE TRIGGER corrupt BEFORE UPDATE ON jobs_delivery FOR EACH ROW WHEN (OLD.claim = {claim.token}) "
        "EXECUTE FUNCTION corrupt()"
    )
    try:
        yield
    finally:
        build.sql("DROP FUNCTION corrupt() CASCADE")


def test_what_is_no_journal_is_left_and_stands_in_nobodys_way(tmp_path):
    claim = build.marked()
    (tmp_path / "a-folder.journal").mkdir()
    os.mkfifo(tmp_path / "a-pipe.journal")
    (tmp_path / "a-link.journal").symlink_to("/dev/null")
    left_behind(tmp_path, sent(claim))

    adopt(tmp_path)

    assert build.where(claim) == ("completed", "sent")
    assert {path.name for path in tmp_path.iterdir()} == {"a-folder.journal", "a-pipe.journal", "a-link.journal"}


@pytest.mark.parametrize("of", ["folder", "parent"])
def test_what_somebody_else_could_have_written_is_not_believed(tmp_path, of):
    claim, folder = build.marked(), tmp_path / "journal"
    left_behind(folder, sent(claim))
    (folder if of == "folder" else tmp_path).chmod(0o777)

    with build.nothing_moves(claim):
        adopt(folder)


def test_an_answer_from_before_the_database_was_restored_changes_nothing(tmp_path):
    """The same tokens are given out anew then; the same worker ids never are."""
    claim = build.marked(worker=build.OTHER_WORKER)
    stranger = replace(build.marked(), job_id=build.a_stranger())
    left_behind(tmp_path, build.settlement(claim, Outcome.TRANSIENT), sent(stranger))

    with build.nothing_moves(claim):
        adopt(tmp_path)

    assert build.facts(claim).history == []
    assert not Attempt.objects.exists()
