"""A provider stands in for another only when that one provably did not take the message."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection

from jobs.errors import Interrupted, Permanent, Transient, Unanswered
from jobs.models import Attempt, Job
from tests.conftest import until
from tests.jobs.transitions import builders as build
from tests.workers.channels_with_character import Providers
from tests.workers.conftest import a_trip, routes, when
from workers.providers import parse

AWAY = Transient("The server could not be reached.", kind="connect")
LATER = Transient("4.3.0 Try again later.", kind="smtp_4xx", code=451)
NEVER = Permanent("5.1.1 No such user.", kind="smtp_5xx", code=550)
SILENCE = Unanswered("Nothing came.", kind="timeout")


def go(recorder, claim, channel, ways=None) -> None:
    async def trip():
        await a_trip(recorder, claim, channel, ways=ways).run()
        await recorder.written(claim)

    recorder.one_by_one(trip())


def history(claim) -> list[tuple[str | None, str, int | None]]:
    rows = Attempt.objects.filter(claim=claim.token).order_by("id")
    return [(row.provider, row.outcome, row.code) for row in rows]


# ── Who is asked next ─────────────────────────────────────────────────────────────────────────


def test_who_was_not_reached_has_nothing_and_the_next_is_asked(recorder, moved):
    claim, channel = build.gated(), Providers(main={"connect": AWAY}, backup={})

    go(recorder, claim, channel)

    assert channel.tried == ["main", "backup"]
    assert channel.outbox == [claim.job_id]
    assert build.where(claim) == ("completed", "sent")
    assert Job.objects.get(pk=claim.job_id).result["provider"] == "backup"
    assert history(claim) == [("main", "transient", None), ("backup", "sent", 250)]
    assert moved("failovers_total", provider="main", to="backup") == 1


def test_a_message_that_was_refused_before_the_dot_is_offered_to_the_next(recorder, moved):
    claim, channel = build.gated(), Providers(main={"offer": LATER}, backup={})

    go(recorder, claim, channel)

    assert channel.dots == channel.outbox == [claim.job_id]
    assert history(claim) == [("main", "transient", 451), ("backup", "sent", 250)]
    assert moved("failovers_total", provider="main", to="backup") == 1


def test_after_a_clear_no_to_the_dot_the_mark_is_taken_back_first(recorder):
    claim, states = build.gated(), []

    class Onlooker(Providers):
        async def on_connect(self) -> None:
            states.append(await asyncio.to_thread(in_thread, lambda: build.where(claim)))

    channel = Onlooker(main={"dot": LATER}, backup={})
    go(recorder, claim, channel)

    assert states == [("running", "claimed"), ("running", "claimed")]
    assert channel.dots == [claim.job_id] * 2
    assert channel.outbox == [claim.job_id], "the first has provably not taken it"
    assert build.where(claim) == ("completed", "sent")
    assert history(claim) == [("main", "transient", 451), ("backup", "sent", 250)]
    assert build.facts(claim).delivery.provider == "backup"


def test_after_silence_nobody_else_is_asked(recorder):
    claim, channel = build.gated(), Providers(main={"dot": SILENCE}, backup={})

    go(recorder, claim, channel)

    assert channel.tried == ["main"]
    assert build.where(claim) == ("unknown", "unknown")
    assert build.facts(claim).letters == [("unknown", None)]


@pytest.mark.parametrize("step", ["offer", "dot"])
def test_a_message_that_is_refused_for_good_is_no_better_elsewhere(recorder, step):
    claim, channel = build.gated(), Providers(main={step: NEVER}, backup={})

    go(recorder, claim, channel)

    assert channel.tried == ["main"]
    assert build.where(claim) == ("failed", "released")


def test_silence_of_the_one_that_stands_in_is_an_unknown_of_its_own(recorder):
    claim, channel = build.gated(), Providers(main={"dot": LATER}, backup={"dot": SILENCE})

    go(recorder, claim, channel)

    assert build.where(claim) == ("unknown", "unknown")
    assert build.facts(claim).delivery.provider == "backup", "that one is to be asked what it has"
    assert history(claim) == [("main", "transient", 451), ("backup", "unknown", None)]


def test_when_all_refuse_it_was_one_attempt_and_history_has_each_answer(recorder):
    claim = build.gated()
    channel = Providers(main={"offer": LATER}, second={"dot": LATER}, third={"connect": AWAY})

    go(recorder, claim, channel)

    assert channel.tried == ["main", "second", "third"]
    job = build.facts(claim).job
    assert build.where(claim) == ("scheduled", "released")
    assert job.attempts == 1
    assert job.last_error["kind"] == "connect"
    assert history(claim) == [
        ("main", "transient", 451),
        ("second", "transient", 451),
        ("third", "transient", None),
    ]


def test_the_last_attempt_ends_in_a_dead_letter_after_the_last_of_them(recorder):
    claim = build.gated(max_attempts=1)

    go(recorder, claim, Providers(main={"dot": LATER}, backup={"dot": LATER}))

    assert build.where(claim) == ("failed", "released")
    assert build.facts(claim).letters == [("exhausted", None)]


def test_that_connections_are_taken_is_no_reason_to_go_elsewhere(recorder):
    busy = Interrupted("All connections to the provider are taken.", kind="connections_busy")
    claim, channel = build.gated(), Providers(main={"connect": busy}, backup={})

    go(recorder, claim, channel)

    assert channel.tried == ["main"]
    assert build.facts(claim).job.attempts == 0


# ── The worker is declared dead, or has to leave, in between ──────────────────────────────────


def test_who_was_declared_dead_meanwhile_does_not_go_on(recorder):
    claim = build.gated()

    class Late(Providers):
        async def on_dot(self) -> None:
            await asyncio.to_thread(in_thread, build.rescue)
            self._say("dot")

    channel = Late(main={"dot": LATER}, backup={})
    go(recorder, claim, channel)

    assert channel.tried == ["main"]
    assert channel.outbox == []
    assert build.where(claim) == ("scheduled", "released"), "the refusal answers the unknown"
    assert build.facts(claim).letters == [("unknown", "late_reply")]


def test_who_has_to_leave_while_the_mark_is_taken_back_leaves_no_doubt(recorder):
    claim = build.gated()

    class Watched(Providers):
        async def on_dot(self) -> None:
            recorder.stop()  # after the mark nothing is committed, until it is started again …
            await when(lambda: not recorder.thread.is_alive())
            self._say("dot")

    channel = Watched(main={"dot": LATER}, backup={})

    async def trip():
        task = asyncio.create_task(a_trip(recorder, claim, channel).run())
        await when(lambda: channel.dots and not recorder._entries.empty())
        task.cancel()
        await task
        await asyncio.to_thread(recorder.run)  # … which writes what is there

    recorder.start()
    asyncio.run(trip())

    assert channel.tried == ["main"]
    assert build.where(claim) == ("scheduled", "released")
    assert build.facts(claim).job.attempts == 0
    assert build.facts(claim).letters == []


def test_a_receipt_stands_whatever_becomes_of_the_connection(recorder):
    class Clumsy(Providers):
        async def on_give_back(self) -> None:
            raise LATER

    claim, channel = build.gated(), Clumsy(main={}, backup={})
    go(recorder, claim, channel)

    assert channel.outbox == [claim.job_id]
    assert build.where(claim) == ("completed", "sent")


def test_who_has_to_leave_between_a_clear_no_and_the_next_leaves_no_doubt(recorder):
    claim, channel, ways = build.gated(), Providers(main={"dot": LATER}, backup={}), routes()
    why_not, asked = ways.why_not, []

    async def slowly(route, *, stands_in=False):
        if stands_in:
            asked.append(route)
            await asyncio.sleep(3600)
        return await why_not(route, stands_in=stands_in)

    ways.why_not = slowly

    async def trip():
        task = asyncio.create_task(a_trip(recorder, claim, channel, ways=ways).run())
        await when(lambda: asked)
        task.cancel()
        await task
        await recorder.written(claim)

    recorder.one_by_one(trip())

    assert channel.tried == ["main"]
    assert build.where(claim) == ("scheduled", "released")
    assert history(claim) == [("main", "transient", 451)]


# ── Circuits and limits ───────────────────────────────────────────────────────────────────────


def test_who_is_known_not_to_work_is_passed_by(recorder):
    ways, channel = routes(), Providers(main={"connect": AWAY}, backup={})
    claims = [build.gated() for _ in range(6)]

    for claim in claims:
        go(recorder, claim, channel, ways)

    assert channel.outbox == [claim.job_id for claim in claims]
    assert channel.tried.count("main") == 3


def test_when_nobody_works_jobs_wait_and_spend_no_attempt(recorder, moved):
    ways, channel = routes(), Providers(main={"connect": AWAY})
    for _ in range(3):
        go(recorder, build.gated(), channel, ways)
    claim = build.gated()

    go(recorder, claim, channel, ways)

    job = build.facts(claim).job
    assert len(channel.tried) == 3
    assert build.where(claim) == ("scheduled", "released")
    assert (job.attempts, history(claim)) == (0, [])
    assert 0 < (job.run_at - job.updated_at).total_seconds() <= 32
    assert moved("jobs_postponed_total", reason="circuit_open") == 1


def test_when_it_works_again_they_go_out(recorder, tunables):
    tunables(circuit_open_seconds=0.1)
    ways, channel = routes(), Providers(main={"connect": AWAY})
    for _ in range(3):
        go(recorder, build.gated(), channel, ways)
    channel.says["main"].clear()

    def goes_out() -> bool:
        claim = build.gated()
        go(recorder, claim, channel, ways)
        return claim.job_id in channel.outbox

    until(goes_out)


def test_one_that_stands_in_and_has_had_enough_is_not_asked(recorder):
    urls = {"main": "smtp://127.0.0.1:25?then=backup", "backup": "smtp://127.0.0.1:26?rate=1/h"}
    rates = parse("backup", urls["backup"]).rates
    claims = [build.gated(), build.gated()]

    class Limited(Providers):
        def routes(self, parcel):
            return [
                route._replace(rates=rates if route.provider == "backup" else ()) for route in super().routes(parcel)
            ]

    channel, ways = Limited(main={"connect": AWAY}, backup={}), routes()
    for claim in claims:
        go(recorder, claim, channel, ways)

    assert channel.tried == ["main", "backup", "main"]
    assert build.where(claims[1]) == ("scheduled", "released")
    assert build.facts(claims[1]).job.attempts == 1


def in_thread(look):
    try:
        return look()
    finally:
        connection.close()
