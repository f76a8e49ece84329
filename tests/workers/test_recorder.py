"""The recorder: many share one commit, and each is answered from its own row."""

from __future__ import annotations

import asyncio
import time
from threading import Event

import pytest
from django.db import connection
from msgspec.structs import replace

from jobs import queue, redis_session
from jobs.errors import ClaimLost
from jobs.states import Outcome, Status
from tests.conftest import until
from tests.jobs.transitions import builders as build
from workers.recorder import MarkUncertain


def sent(claim):
    return build.settlement(claim, Outcome.SENT, result={"provider": "main"})


def transactions(table: str) -> int:
    """How many transactions wrote the rows of this table."""
    return build.sql(f"SELECT count(DISTINCT xmin::text) FROM {table}")[0][0]


def gate_in_redis(bell, claim) -> bytes | None:
    return bell.get(f"sendonce:gate:{claim.dedupe_hash.hex()}")


# ── Group commit ──────────────────────────────────────────────────────────────────────────────


def test_marks_of_many_share_one_commit(recorder):
    claims = [build.gated() for _ in range(50)]

    answers = recorder.together(*[recorder.mark(claim, "main") for claim in claims])

    assert answers == [None] * 50
    assert {build.where(claim) for claim in claims} == {("running", "dot")}
    assert transactions("jobs_delivery") == 1


@pytest.mark.parametrize(("trips", "transactions_in_all"), [(64, 2), (1, 3)])
def test_what_comes_right_after_a_commit_shares_the_next_one_if_more_can_come(recorder, trips, transactions_in_all):
    recorder.trips = trips
    waits, go_on = Event(), Event()
    recorder._abandoned.wait = lambda seconds: seconds > 0 and (waits.set(), go_on.wait(30))
    first, second, third = [build.gated() for _ in range(3)]

    async def ask():
        recorder.start()
        await recorder.mark(first, "main")
        marking = asyncio.create_task(recorder.mark(second, "main"))
        await asyncio.wait_for(asyncio.to_thread(waits.wait) if trips > 1 else marking, 30)
        last = asyncio.create_task(recorder.mark(third, "main"))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(marking, last)

    asyncio.run(ask())
    assert transactions("jobs_delivery") == transactions_in_all


def test_every_kind_of_request_goes_into_one_commit(recorder):
    settled, marked = build.marked(), build.gated()
    back, unmarked, suspect = build.gated(), build.marked(), build.gated()
    build.set_job(suspect, deaths=1)

    answers = recorder.together(
        recorder.settled(sent(settled)),
        recorder.acquit(suspect),
        recorder.mark(marked, "backup"),
        recorder.returned(back, wait_seconds=1.0),
        recorder.returned(unmarked, wait_seconds=1.0, unmark=True),
    )

    assert answers == [Status.COMPLETED, None, None, None, None]
    assert build.where(settled) == ("completed", "sent")
    assert build.where(marked) == ("running", "dot")
    assert build.facts(marked).delivery.provider == "backup"
    assert build.where(back) == build.where(unmarked) == ("scheduled", "released")
    assert [build.facts(claim).job.attempts for claim in (back, unmarked)] == [0, 0]
    assert build.where(suspect) == ("running", "claimed")
    assert build.facts(suspect).job.deaths == 0
    assert transactions("jobs_delivery") == 2, "the suspect's row was not written"
    assert sorted(recorder.over) == sorted([settled.token, back.token, unmarked.token])
    assert recorder.acquitted == [suspect.token]


def test_a_suspect_whose_claim_was_lost_is_not_acquitted(recorder):
    suspect = build.gated()
    build.rescue()

    (answer,) = recorder.together(recorder.acquit(suspect))

    assert isinstance(answer, ClaimLost)
    assert build.facts(suspect).job.deaths == 1


def lines(recorder) -> int:
    (journal,) = recorder.journals.iterdir()
    return len(journal.read_bytes().splitlines())


def test_what_was_answered_is_in_the_journal_until_it_is_committed(recorder):
    answered, refused, silent = build.marked(), build.marked(), build.marked()
    unsent = build.gated()

    async def ask():
        asked = [
            recorder.settled(sent(answered)),
            recorder.settled(build.settlement(refused, Outcome.PERMANENT)),
            recorder.settled(build.settlement(silent, Outcome.UNKNOWN)),
            recorder.settled(build.settlement(unsent, Outcome.TRANSIENT, marked=False)),
        ]
        tasks = [asyncio.create_task(coroutine) for coroutine in asked]
        await asyncio.sleep(0)
        kept = lines(recorder)
        recorder.start()
        await asyncio.gather(*tasks)
        return kept

    assert asyncio.run(ask()) == 2
    recorder.finish()
    assert lines(recorder) == 0


def test_a_mark_is_answered_from_its_own_row_and_no_other(recorder):
    good, lost, also_good = build.gated(), build.gated(), build.gated()
    build.rescue()  # the heartbeat of a worker that never beat is missing
    good, also_good = [build.gated(build.claimed(claim.job_id)) for claim in (good, also_good)]

    answers = recorder.together(*[recorder.mark(claim, "main") for claim in (good, lost, also_good)])

    assert [type(answer) for answer in answers] == [type(None), ClaimLost, type(None)]
    assert build.where(lost) == ("queued", "released")


def test_a_settlement_that_comes_too_late_is_told_so(recorder, bell):
    overtaken = build.marked()
    build.settle(overtaken, Outcome.UNKNOWN)
    build.decide(overtaken, build.Decision.MARK_SENT)

    (answer,) = recorder.together(recorder.settled(sent(overtaken)))
    recorder.finish()

    assert answer is None
    assert recorder.over == [overtaken.token]
    assert gate_in_redis(bell, overtaken) is None


def test_a_mark_and_its_taking_back_in_one_group_leave_nothing_marked(recorder):
    claim = build.gated()

    taken_back, marked = recorder.together(
        recorder.returned(claim, wait_seconds=0.0, unmark=True), recorder.mark(claim, "main")
    )

    assert build.where(claim) == ("scheduled", "released")
    assert taken_back is None
    assert isinstance(marked, ClaimLost), "nothing is marked, so nobody may be told that it is"


# ── Trace 15: a row that PostgreSQL will not take ─────────────────────────────────────────────

POISON = {
    "a NUL byte": {"detail": "550 \0"},
    "half a character": {"detail": "550 \ud800"},
    "a number too large": {"code": 2**40},
    "no JSON": {"result": {"what": object()}},
}


@pytest.mark.parametrize("facts", POISON.values(), ids=POISON)
def test_a_poison_row_takes_nobody_with_it(recorder, bell, facts):
    good = [build.marked() for _ in range(4)]
    poison, waiting = build.marked(), build.gated()
    asked = [recorder.settled(sent(claim)) for claim in good]
    asked.insert(2, recorder.settled(replace(sent(poison), **facts)))

    *answers, marked = recorder.together(*asked, recorder.mark(waiting, "main"))
    recorder.finish()

    refused = answers.pop(2)
    assert refused is None
    assert answers == [Status.COMPLETED] * 4
    assert marked is None
    assert {build.where(claim) for claim in good} == {("completed", "sent")}
    assert build.where(poison) == ("running", "dot"), "the own sweep makes an unknown of it"
    assert poison.token in recorder.over, "so the sweep must not think that somebody still works on it"
    assert gate_in_redis(bell, good[0]) == b"sent"
    assert gate_in_redis(bell, poison) is None


def test_a_mark_that_cannot_be_written_forbids_the_dot(recorder):
    claim, other = build.gated(), build.gated()

    answers = recorder.together(recorder.mark(claim, "ma\0in"), recorder.mark(other, "main"))

    assert isinstance(answers[0], MarkUncertain)
    assert answers[1] is None
    assert build.where(claim) == ("running", "claimed")
    assert recorder.over == [], "its trip goes on, and gives the job back"


# ── L1 ────────────────────────────────────────────────────────────────────────────────────────


def test_redis_hears_of_sent_only_after_the_commit(recorder, bell, monkeypatch):
    claim = build.marked()
    heard = []
    monkeypatch.setattr(queue, "remember_sent", lambda hashes: heard.append((list(hashes), connection.in_atomic_block)))

    recorder.together(recorder.settled(sent(claim)))
    recorder.finish()

    assert heard == [([claim.dedupe_hash], False)]
    assert build.where(claim) == ("completed", "sent")


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.INVALID, Outcome.UNKNOWN])
def test_only_sent_is_told_to_redis(recorder, bell, outcome):
    claim = build.marked()

    recorder.together(recorder.settled(build.settlement(claim, outcome)))
    recorder.finish()

    assert gate_in_redis(bell, claim) is None


def test_without_redis_outcomes_are_recorded_all_the_same(recorder, own_redis):
    own_redis.kill()
    claim = build.marked()

    assert recorder.together(recorder.settled(sent(claim))) == [Status.COMPLETED]


@pytest.mark.slow
def test_a_redis_that_hangs_holds_the_recorder_up_once_not_for_every_group(recorder, own_redis):
    claims = [build.marked() for _ in range(5)]
    queue.ping()
    own_redis.hang()
    started = time.monotonic()

    answers = recorder.one_by_one(*[recorder.settled(sent(claim)) for claim in claims])
    recorder.finish()

    own_redis.wake()
    assert answers == [Status.COMPLETED] * 5
    assert time.monotonic() - started < redis_session.PATIENCE_SECONDS + 1.5


# ── The end ───────────────────────────────────────────────────────────────────────────────────


def test_stop_writes_everything_first(recorder, monkeypatch):
    monkeypatch.setattr("workers.recorder.LARGEST_GROUP", 10)
    claims = [build.gated() for _ in range(25)]
    recorder.put_back(claims, wait_seconds=0.0)
    recorder.stop()

    recorder.run()

    assert {build.where(claim) for claim in claims} == {("scheduled", "released")}
    assert sorted(recorder.over) == sorted(claim.token for claim in claims)
    assert transactions("jobs_delivery") == 3, "in groups of bounded size"


def test_the_recorder_shows_that_it_lives_while_it_has_nothing_to_do(recorder):
    recorder.start()

    until(lambda: recorder.pulse.silent(for_seconds=-1.0) == ["recorder"])


def test_who_asked_may_be_gone_when_the_answer_comes(recorder):
    claim, other = build.marked(), build.marked()

    async def ask_and_leave():
        asking = asyncio.create_task(recorder.settled(sent(claim)))
        await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(ask_and_leave())  # this loop is closed now
    recorder.start()

    assert recorder.one_by_one(recorder.settled(sent(other))) == [Status.COMPLETED]
    assert build.where(claim) == ("completed", "sent")


@pytest.mark.parametrize(
    ("under_way", "in_hand", "gains"),
    [(100, 49, True), (100, 50, False), (40, 31, True), (40, 32, False), (10, 9, True), (10, 10, False), (0, 0, False)],
)
def test_a_group_waits_for_others_while_it_is_small_and_others_may_come(recorder, under_way, in_hand, gains):
    recorder.trips = under_way
    recorder._committed_at = time.monotonic() + 1000

    assert recorder._gains_from_waiting(in_hand) is gains

    recorder._committed_at = time.monotonic() - 1000
    assert not recorder._gains_from_waiting(in_hand), "who comes after a pause waits for nobody"
