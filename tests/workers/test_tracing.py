"""A trip that is traced goes as any other, and its spans say how each step went, and nothing of what it carried."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from opentelemetry.trace import StatusCode
from structlog.contextvars import get_contextvars

from jobs import spans
from jobs.errors import Invalid, Permanent, Transient, Unanswered
from tests.jobs.transitions import builders as build
from tests.workers.channels_with_character import (
    CalmChannel,
    Providers,
    RefusingChannel,
    RepeatableChannel,
    SlowChannel,
)
from tests.workers.conftest import a_trip, when
from tests.workers.test_settlement import claim as a_claim
from workers import tasks
from workers.tasks import Ending, Errand, How
from workers.tracing import TracedDelivery

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STEPS = ["prepare", "connect", "offer", "mark", "commit"]


def go(recorder, claim, channel) -> None:
    async def trip():
        await a_trip(recorder, claim, channel, kind=TracedDelivery).run()
        await recorder.written(claim)

    recorder.one_by_one(trip())


def told(exporter) -> tuple[list[tuple[str, StatusCode]], dict[str, object]]:
    """The steps and how they went, in the order in which they ended; and what the trip says of itself."""
    *steps, trip = exporter.get_finished_spans()
    assert {step.parent.span_id for step in steps} <= {trip.context.span_id}
    assert [span.events for span in (*steps, trip)] == [()] * (len(steps) + 1)
    return [(step.name, step.status.status_code) for step in steps], {
        "status": trip.status.status_code,
        **trip.attributes,
    }


def well(*names: str) -> list[tuple[str, StatusCode]]:
    return [(name, StatusCode.UNSET) for name in names]


def test_a_trip_that_goes_well_is_told_by_its_steps(recorder, spans_made):
    claim = build.gated(traceparent=TRACEPARENT)

    go(recorder, claim, CalmChannel())

    steps, trip = told(spans_made)
    assert build.facts(claim).where == ("completed", "sent")
    assert steps == well(*STEPS)
    assert (trip["status"], trip["sendonce.outcome"], trip["sendonce.provider"]) == (StatusCode.UNSET, "sent", "main")
    parent = spans_made.get_finished_spans()[-1].parent
    assert f"00-{parent.trace_id:032x}-{parent.span_id:016x}-01" == TRACEPARENT


def test_a_message_that_goes_by_the_next_provider_is_one_trip_that_went_well(recorder, spans_made):
    busy = Transient("4.3.0 Busy", kind="smtp_4xx", code=451)
    claim, channel = build.gated(), Providers(main={"dot": busy}, backup={})

    go(recorder, claim, channel)

    steps, trip = told(spans_made)
    refused = [*well("prepare", "connect", "offer", "mark"), ("commit", StatusCode.ERROR)]
    assert steps == refused + well("connect", "offer", "mark", "commit")
    assert (trip["status"], trip["sendonce.outcome"], trip["sendonce.provider"]) == (StatusCode.UNSET, "sent", "backup")


@pytest.mark.parametrize("traceparent", [None, "nonsense", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_trip_without_a_parent_has_a_trace_of_its_own(recorder, spans_made, traceparent):
    claim = build.gated(traceparent=traceparent)

    with spans.span("somebody else's"):
        go(recorder, claim, CalmChannel())

    assert [span.parent for span in spans_made.get_finished_spans() if span.name == "process email"] == [None]


def test_what_may_be_repeated_has_no_mark(recorder, spans_made):
    go(recorder, build.gated(), RepeatableChannel())

    assert told(spans_made)[0] == well("prepare", "connect", "offer", "commit")


@pytest.mark.parametrize(
    ("at", "error", "outcome"),
    [
        ("prepare", Invalid("ann@example.org", kind="bad_address"), "invalid"),
        ("connect", Transient("ann@example.org", kind="connect_failed"), "transient"),
        ("offer", Permanent("ann@example.org", kind="smtp_5xx", code=550), "permanent"),
        ("dot", Unanswered("ann@example.org", kind="no_reply"), "unknown"),
        ("dot", RuntimeError("ann@example.org"), "unknown"),
    ],
)
def test_a_step_that_fails_and_its_trip_say_why_in_one_word(recorder, spans_made, at, error, outcome):
    go(recorder, build.gated(), RefusingChannel(at, error))

    *_, step, trip = spans_made.get_finished_spans()
    kind = getattr(error, "kind", None)
    assert step.name == ("commit" if at == "dot" else at)
    assert {span.status.status_code for span in (step, trip)} == {StatusCode.ERROR}
    assert step.attributes["error.type"] == step.status.description == (kind or "RuntimeError")
    assert trip.attributes["error.type"] == trip.status.description == (kind or "error")
    assert trip.attributes["sendonce.outcome"] == outcome
    assert trip.attributes.get("sendonce.reply.code") == getattr(error, "code", None)
    assert "ann@" not in "".join(span.to_json() for span in spans_made.get_finished_spans())


def test_a_claim_that_was_lost_is_no_success(recorder, spans_made):
    claim, channel = build.gated(), CalmChannel()
    build.rescue()

    async def trip():
        await a_trip(recorder, claim, channel, kind=TracedDelivery).run()

    recorder.one_by_one(trip())

    steps, said = told(spans_made)
    assert channel.outbox == []
    assert steps == [*well("prepare", "connect", "offer"), ("mark", StatusCode.ERROR)]
    assert (said["status"], said["sendonce.outcome"]) == (StatusCode.ERROR, "claim_lost")


@pytest.mark.parametrize(("at", "outcome"), [("offer", "handed_back"), ("dot", "unknown")])
def test_a_trip_that_must_end_now_says_what_became_of_it(recorder, spans_made, at, outcome):
    claim, channel = build.gated(), SlowChannel(at)

    async def trip():
        task = asyncio.create_task(a_trip(recorder, claim, channel, kind=TracedDelivery).run())
        await when(lambda: channel.reached)
        task.cancel()
        await task
        await recorder.written(claim)

    recorder.start()
    asyncio.run(trip())

    assert told(spans_made)[1]["sendonce.outcome"] == outcome


def test_the_job_brings_its_trace_back_with_each_claim(committed):
    first = build.claimed(traceparent=TRACEPARENT)
    build.rescue()

    second = build.claimed(first.job_id)

    assert second.attempt == 2
    assert (second.traceparent, second.trace_id) == (TRACEPARENT, TRACEPARENT.split("-")[1])
    assert second.names["trace_id"] == second.trace_id


def test_a_handlers_lines_name_the_trace_too(monkeypatch):
    bound = []
    monkeypatch.setattr(tasks, "_carry_out", lambda _: bound.append(get_contextvars()) or Ending(how=How.DONE))

    for claim in (a_claim(traceparent=TRACEPARENT), a_claim()):
        tasks.carry_out(msgspec.json.encode(Errand.of(claim, limit_seconds=1.0)))

    assert [names.get("trace_id") for names in bound] == [TRACEPARENT.split("-")[1], None]


def test_a_job_that_was_accepted_untraced_names_no_trace(committed):
    claim = build.gated()

    assert (claim.traceparent, claim.trace_id) == (None, None)
    assert "trace_id" not in claim.names
