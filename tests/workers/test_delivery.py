"""One trip: however it ends, it is written down as it was."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from jobs import chores
from jobs.errors import Invalid, Permanent, Transient, Unanswered
from jobs.models import Attempt, Job
from scheduler.logs import name_subject
from tests.jobs.transitions import builders as build
from tests.workers.channels_with_character import (
    CalmChannel,
    FlakyChannel,
    RefusingChannel,
    RepeatableChannel,
    SlowChannel,
)
from tests.workers.conftest import a_trip, when


def go(recorder, claim, channel) -> None:
    """The whole trip."""

    async def trip():
        await a_trip(recorder, claim, channel).run()
        await recorder.written(claim)

    recorder.one_by_one(trip())


def go_and_cancel(recorder, claim, channel) -> None:
    """The trip until it stands still; there it is cancelled."""

    async def trip():
        task = asyncio.create_task(a_trip(recorder, claim, channel).run())
        await when(lambda: channel.reached)
        task.cancel()
        await task
        await recorder.written(claim)

    recorder.start()
    asyncio.run(trip())


def wait_seconds(claim) -> float:
    job = Job.objects.get(pk=claim.job_id)
    return (job.run_at - job.updated_at).total_seconds()


# ── The other side has it ─────────────────────────────────────────────────────────────────────


def test_a_trip_that_goes_well_leaves_a_receipt(recorder, moved):
    claim, channel = build.gated(), CalmChannel()

    go(recorder, claim, channel)

    facts = build.facts(claim)
    assert channel.outbox == [claim.job_id]
    assert facts.where == ("completed", "sent")
    assert facts.history == ["sent"]
    assert facts.job.result == {
        "message_id": f"<{claim.job_id}@sendonce.example>",
        "provider": "main",
        "reply": {"code": 250, "detail": "2.0.0 Queued  as   1"},  # what PostgreSQL and a terminal can bear
        "accepted": ["ann@example.org"],
        "refused": [],
    }
    assert recorder.over == [claim.token]
    assert moved("jobs_processed_total", status="completed", type="email") == 1
    assert moved("job_processing_duration_seconds_count", type="email") == 1
    assert moved("job_retry_attempts_sum") == 1
    assert moved("job_failures_total", reason="error") == 0


def test_what_may_be_repeated_is_not_marked_before_it_is_done(recorder):
    claim, states = build.gated(), []

    class Onlooker(RepeatableChannel):
        async def on_dot(self):
            states.append(await asyncio.to_thread(in_thread, lambda: build.where(claim)))

    channel = Onlooker()
    go(recorder, claim, channel)

    assert states == [("running", "claimed")]
    assert channel.outbox == [claim.job_id]
    assert build.where(claim) == ("completed", "sent")
    assert recorder.journal._open == {}


def test_what_may_be_repeated_is_done_again_after_an_error(recorder):
    claim = build.gated()

    class Clumsy(RepeatableChannel):
        async def on_dot(self):
            raise ZeroDivisionError

    go(recorder, claim, Clumsy())

    assert build.where(claim) == ("scheduled", "released")
    assert build.facts(claim).history == ["transient"]


def test_the_mark_is_committed_before_the_dot(recorder):
    claim, states = build.gated(), []

    class Onlooker(CalmChannel):
        async def on_offer(self):
            states.append(await asyncio.to_thread(in_thread, lambda: build.where(claim)))

        async def on_dot(self):
            states.append(await asyncio.to_thread(in_thread, lambda: build.where(claim)))

    go(recorder, claim, Onlooker())

    assert states == [("running", "claimed"), ("running", "dot")]


def test_a_suspect_is_acquitted_once_it_is_prepared_and_before_anything_leaves(recorder):
    build.gated(build.claimed(job_id := build.a_job()))
    build.rescue()
    claim, deaths = build.gated(build.claimed(job_id)), []

    class Onlooker(CalmChannel):
        async def on_connect(self):
            deaths.append(await asyncio.to_thread(in_thread, lambda: build.facts(claim).job.deaths))

    assert build.facts(claim).job.deaths == 1
    go(recorder, claim, Onlooker())

    assert deaths == [0]
    assert build.where(claim) == ("completed", "sent")


def in_thread(look):
    try:
        return look()
    finally:
        build.connection.close()


@pytest.mark.parametrize("error", [OSError("reset"), Transient("closing"), Unanswered("closing")])
def test_a_receipt_stands_although_giving_the_line_back_failed(recorder, error):
    claim, channel = build.gated(), RefusingChannel("give_back", error)

    go(recorder, claim, channel)

    assert channel.outbox == [claim.job_id]
    assert build.where(claim) == ("completed", "sent")


def test_a_receipt_stands_although_the_worker_had_to_leave(recorder):
    claim, channel = build.gated(), SlowChannel("give_back")

    go_and_cancel(recorder, claim, channel)

    assert channel.outbox == [claim.job_id]
    assert build.where(claim) == ("completed", "sent")


# ── It was refused, or nobody knows ───────────────────────────────────────────────────────────

BUSY = Transient("Try later", kind="refused", code=451)
NEVER = Permanent("No such user", kind="refused", code=550)
SILENCE = Unanswered("No reply", kind="timeout")
ENDINGS = [  # step, error → job, delivery, outcome, dead letter
    ("connect", Transient("Nobody answers", kind="connect"), ("scheduled", "released"), "transient", None),
    ("offer", BUSY, ("scheduled", "released"), "transient", None),
    ("dot", BUSY, ("scheduled", "released"), "transient", None),
    ("offer", NEVER, ("failed", "released"), "permanent", "permanent"),
    ("dot", NEVER, ("failed", "released"), "permanent", "permanent"),
    ("prepare", Invalid("No address", kind="invalid"), ("failed", "released"), "invalid", "invalid"),
    ("dot", SILENCE, ("unknown", "unknown"), "unknown", "unknown"),
    ("prepare", ZeroDivisionError("a bug"), ("scheduled", "released"), "transient", None),
    ("offer", ZeroDivisionError("a bug"), ("scheduled", "released"), "transient", None),
    ("dot", ZeroDivisionError("a bug"), ("unknown", "unknown"), "unknown", "unknown"),
]


@pytest.mark.parametrize(("step", "error", "where", "outcome", "reason"), ENDINGS)
def test_each_error_at_each_step_has_its_ending(recorder, moved, step, error, where, outcome, reason):
    claim, channel = build.gated(), RefusingChannel(step, error)

    go(recorder, claim, channel)

    facts = build.facts(claim)
    assert channel.outbox == []
    assert facts.where == where
    assert facts.history == [outcome]
    assert facts.letters == ([(reason, None)] if reason else [])
    assert recorder.over == [claim.token]
    kind = getattr(error, "kind", "error")
    assert facts.job.last_error["kind"] == kind
    assert moved("job_failures_total", reason=kind) == 1
    assert moved("job_retries_total", reason=kind) == (where[0] == "scheduled")
    assert moved("send_unknown_total") == (outcome == "unknown")
    assert moved("jobs_processed_total", status=where[0], type="email") == 1
    assert moved("job_retry_attempts_count") == (where[0] == "failed"), "counted when the job is settled for good"


def test_an_unforeseen_error_is_told_by_its_name_only_since_its_words_may_be_anybodys(recorder):
    claim = build.gated()

    with capture_logs() as logs:
        go(recorder, claim, RefusingChannel("offer", ZeroDivisionError("ann@example.org")))

    assert Job.objects.get(pk=claim.job_id).last_error == {"kind": "error", "code": None, "detail": "ZeroDivisionError"}
    assert next(line for line in logs if line["event"] == "trip_failed")["log_level"] == "error"


def test_the_last_attempt_is_the_last(recorder):
    claim = build.gated(max_attempts=1)

    go(recorder, claim, RefusingChannel("offer", BUSY))

    assert build.where(claim) == ("failed", "released")
    assert build.facts(claim).letters == [("exhausted", None)]


def test_it_waits_as_long_as_the_other_side_asks_for(recorder):
    claim = build.gated()

    go(recorder, claim, RefusingChannel("offer", Transient("Slow down", kind="rate", code=450, retry_after=90.0)))

    assert wait_seconds(claim) == pytest.approx(90.0)


def test_a_job_goes_out_once_its_provider_is_in_a_better_mood(recorder):
    claim, channel = build.gated(), FlakyChannel(BUSY, BUSY)

    go(recorder, claim, channel)
    for _ in range(2):
        build.set_job(claim, run_at=build.ago(1))
        chores.promote(limit=10)
        claim = build.gated(build.claimed(claim.job_id))
        go(recorder, claim, channel)

    assert channel.outbox == [claim.job_id]
    assert build.facts(claim).history == ["transient", "transient", "sent"]
    assert claim.attempt == 3


def test_a_worker_without_a_channel_for_the_type_leaves_the_job_to_others(recorder):
    claim = build.gated(type="webhook")

    go(recorder, claim, CalmChannel())

    assert build.where(claim) == ("scheduled", "released")
    assert Job.objects.get(pk=claim.job_id).last_error["kind"] == "no_channel"


# ── Not ours any more, or nobody knows whose ──────────────────────────────────────────────────


def test_a_trip_that_lost_its_claim_writes_no_dot_and_changes_nothing(recorder):
    claim, channel = build.gated(), CalmChannel()
    build.rescue()
    newer = build.gated(build.claimed(claim.job_id, worker=build.OTHER_WORKER))

    go(recorder, claim, channel)

    assert channel.dots == []
    assert build.where(claim) == ("running", "claimed")
    assert build.facts(claim).job.claim == newer.token
    assert Attempt.objects.filter(claim=claim.token).values_list("outcome", flat=True).get() == "lost"


@pytest.mark.parametrize("leaving", [CalmChannel(), RefusingChannel("give_back", OSError("reset"))])
def test_an_uncertain_mark_writes_no_dot_and_costs_no_attempt(recorder, lost_answer, leaving):
    claim = build.gated()

    go(recorder, claim, leaving)

    assert leaving.dots == []
    assert build.where(claim) == ("scheduled", "released"), "the mark was committed, and is taken back"
    assert build.facts(claim).job.attempts == 0
    assert build.facts(claim).history == []


# ── The worker has to leave ───────────────────────────────────────────────────────────────────


def test_cancelled_before_the_mark_the_job_goes_back_at_once_and_for_free(recorder):
    claim, channel = build.gated(), SlowChannel("offer")

    go_and_cancel(recorder, claim, channel)

    assert channel.dots == []
    assert build.where(claim) == ("scheduled", "released")
    assert build.facts(claim).job.attempts == 0
    assert wait_seconds(claim) == 0


def test_cancelled_while_the_mark_is_being_committed_nothing_stays_marked(recorder):
    claim, channel = build.gated(), CalmChannel()

    async def trip():
        task = asyncio.create_task(a_trip(recorder, claim, channel).run())
        await when(lambda: not recorder._entries.empty())
        task.cancel()
        recorder.start()
        await task
        await recorder.written(claim)

    asyncio.run(trip())

    assert channel.dots == []
    assert build.where(claim) == ("scheduled", "released")


def test_cancelled_after_the_dot_nobody_can_know(recorder):
    claim, channel = build.gated(), SlowChannel("dot")

    go_and_cancel(recorder, claim, channel)

    assert channel.dots == [claim.job_id]
    assert build.where(claim) == ("unknown", "unknown")
    assert build.facts(claim).job.last_error["kind"] == "interrupted"
    assert build.facts(claim).letters == [("unknown", None)]


# ── What is told ──────────────────────────────────────────────────────────────────────────────


def test_every_line_of_a_trip_names_it_and_none_names_people(recorder):
    claim = build.gated()

    with capture_logs(processors=[structlog.contextvars.merge_contextvars, name_subject]) as logs:
        go(recorder, claim, CalmChannel())

    (line,) = logs
    assert line.pop("ms") >= 0
    assert line == {
        "event": "job_settled",
        "job_id": str(claim.job_id),
        "correlation_id": "c-1",
        "attempt": 1,
        "worker_id": str(build.WORKER),
        "outcome": "sent",
        "status": "completed",
        "provider": "main",
        "reason": None,
        "code": 250,
        "log_level": "info",
    }
    assert structlog.contextvars.get_contextvars() == {}, "the next trip starts with nothing bound"
