"""The recorder while PostgreSQL is away: no mark, no dot; everything else is kept and written later."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from jobs.states import Outcome, Status
from tests.conftest import until
from tests.jobs.transitions import builders as build
from tests.workers.conftest import outcome_of, when
from workers import recorder as module
from workers.recorder import MarkUncertain


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


def sent(claim):
    return build.settlement(claim, Outcome.SENT, result={"provider": "main"})


def test_a_mark_fails_at_once_and_the_next_one_finds_a_fresh_connection(recorder, postgres):
    first, second, third = (build.gated() for _ in range(3))
    assert recorder.together(recorder.mark(first, "main")) == [None]

    postgres.cut()
    answers = recorder.one_by_one(recorder.mark(second, "main"), recorder.mark(third, "main"))

    assert isinstance(answers[0], MarkUncertain)
    assert answers[1] is None
    assert [build.where(claim)[1] for claim in (first, second, third)] == ["dot", "claimed", "dot"]


def test_outcomes_wait_for_postgres_while_new_marks_fail(recorder, postgres):
    delivered, refused, marking = build.marked(), build.marked(), build.gated()
    postgres.go_away()

    async def trips():
        settling = [
            asyncio.create_task(recorder.settled(sent(delivered))),
            asyncio.create_task(recorder.settled(build.settlement(refused, Outcome.PERMANENT))),
        ]
        await asyncio.sleep(0)
        recorder.start()
        with capture_logs() as logs:
            await when(lambda: logs)
        mark = await outcome_of(recorder.mark(marking, "main"))
        still_waiting = not any(task.done() for task in settling)
        postgres.come_back()
        return mark, still_waiting, logs, await asyncio.gather(*settling)

    mark, still_waiting, logs, statuses = asyncio.run(trips())

    assert isinstance(mark, MarkUncertain), "a conversation in the middle of DATA must not wait for PostgreSQL"
    assert still_waiting
    assert logs[0] == {
        "event": "postgres_away",
        "error": "OperationalError",
        "sqlstate": None,
        "kept": 2,
        "log_level": "warning",
    }
    assert statuses == [Status.COMPLETED, Status.FAILED]
    assert build.where(delivered) == ("completed", "sent")
    assert build.where(refused) == ("failed", "released")
    assert build.where(marking) == ("running", "claimed")


def test_an_outcome_whose_commit_was_not_answered_is_written_once(recorder, lost_answer):
    claim = build.marked()

    recorder.together(recorder.settled(sent(claim)))

    facts = build.facts(claim)
    assert facts.where == ("completed", "sent")
    assert facts.history == ["sent"]
    assert recorder.over == [claim.token]


def test_a_mark_whose_commit_was_not_answered_is_taken_back_without_costing_an_attempt(recorder, lost_answer):
    claim = build.gated()

    (answer,) = recorder.together(recorder.mark(claim, "main"))
    was_marked = build.where(claim) == ("running", "dot")
    recorder.one_by_one(recorder.returned(claim, wait_seconds=0.0, unmark=True))

    assert isinstance(answer, MarkUncertain)
    assert was_marked
    assert build.where(claim) == ("scheduled", "released")
    assert build.facts(claim).job.attempts == 0


def test_stop_waits_for_postgres(recorder, postgres):
    claims = [build.gated() for _ in range(3)]
    recorder.put_back(claims, wait_seconds=0.0)
    postgres.go_away()

    with capture_logs() as logs:
        recorder.start()
        recorder.stop()
        until(lambda: len(logs) > 1)
    assert recorder.thread.is_alive()
    postgres.come_back()
    recorder.finish()

    assert {build.where(claim) for claim in claims} == {("scheduled", "released")}


def test_abandoned_it_ends_although_postgres_stays_away(recorder, postgres):
    claim = build.gated()
    recorder.put_back([claim], wait_seconds=0.0)
    postgres.go_away()

    with capture_logs() as logs:
        recorder.start()
        recorder.stop()
        until(lambda: logs)
    recorder.abandon()
    recorder.thread.join(timeout=10)

    assert not recorder.thread.is_alive()
    assert recorder.over == [], "it is not over: the rescuer gets it"
    postgres.come_back()
    assert build.where(claim) == ("running", "claimed")


def test_the_recorder_shows_that_it_lives_while_postgres_is_away(recorder, postgres):
    recorder.put_back([build.gated()], wait_seconds=0.0)
    postgres.go_away()

    with capture_logs() as logs:
        recorder.start()
        until(lambda: logs)
        (then,) = recorder.pulse.parts()
        until(lambda: recorder.pulse.parts()[0].ticked_at > then.ticked_at)
    (now,) = recorder.pulse.parts()
    assert (now.trouble, now.progress_at) == ("PostgreSQL: OperationalError", None)
    postgres.come_back()
