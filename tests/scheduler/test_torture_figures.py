"""What is counted beside the sins: why each unknown is one, and how soon things went on."""

from __future__ import annotations

import pytest

from scheduler.torture.books import Books
from scheduler.torture.evidence import Complaint
from scheduler.torture.faults import Fault
from scheduler.torture.recovery import Times, recovery, returns
from scheduler.torture.unknowns import Cause, explain
from tests.scheduler.made_up_run import MadeUpRun


@pytest.fixture
def run() -> MadeUpRun:
    run = MadeUpRun()
    run.worker("w", pid=7)
    return run


def causes(run: MadeUpRun) -> dict[Cause, int]:
    return {cause: count for cause, count in explain(Books(run.evidence)).causes.items() if count}


def marked(run: MadeUpRun, *, at: float) -> int:
    """A job whose dot is marked then."""
    run.accept("job", at=at - 3)
    claim = run.claim("job", at=at - 2)
    run.mark("job", claim, at=at)
    return claim


def give_up(run: MadeUpRun, claim: int, *, at: float) -> None:
    run.move("job", "unknown", claim=claim, at=at)
    run._step("job", "unknown", claim)


# ── Why an unknown is one ─────────────────────────────────────────────────────────────────────


def test_a_server_that_never_answered_is_the_cause_though_the_worker_was_killed_later(run):
    run.leave_unanswered("job")
    run.event(Fault.KILL_WORKER, "worker 1", at=run.now + 1, pid=7)

    assert causes(run) == {Cause.SERVER_SILENT: 1}


def test_an_answer_that_came_after_the_kill_was_unanswered_at_the_kill(run):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1)  # answered at 1020.6
    run.event(Fault.KILL_WORKER, "worker 1", at=1020.3, pid=7)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.UNANSWERED_AT_KILL: 1}


def test_an_answer_that_never_came_because_of_the_kill_was_unanswered_at_the_kill(run):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1, answer=None)
    run.event(Fault.KILL_WORKER, "worker 1", at=1020.3, pid=7)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.UNANSWERED_AT_KILL: 1}


def test_a_mark_without_a_dot_is_the_protocols_own_price(run):
    claim = marked(run, at=1020.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1020.01, pid=7)
    give_up(run, claim, at=1026.0)

    found = explain(Books(run.evidence))

    assert causes(run) == {Cause.BEFORE_DOT: 1}
    assert (found.rest, found.kills, found.rest_per_kill, found.is_met) == (1, 1, 1.0, False)


def test_a_dot_that_met_a_server_which_hung_up_was_the_servers_doing(run):
    claim = marked(run, at=1020.0)
    run.deed("job", "body", "drop", at=1019.99)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.SERVER_SILENT: 1}


def test_a_dot_that_met_a_server_which_stopped_was_the_servers_doing(run):
    claim = marked(run, at=1020.0)
    run.event(Fault.REFUSE, "SMTP server", at=1019.9)
    give_up(run, claim, at=1020.3)

    assert causes(run) == {Cause.SERVER_SILENT: 1}


def test_a_server_that_stopped_after_the_kill_explains_nothing(run):
    claim = marked(run, at=1020.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1020.01, pid=7)
    run.event(Fault.REFUSE, "SMTP server", at=1020.1)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.BEFORE_DOT: 1}


def test_an_answer_that_was_not_settled_before_the_kill_is_the_protocols_own_price(run):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1)
    run.event(Fault.KILL_WORKER, "worker 1", at=1020.7, pid=7)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.REPLY_NOT_SETTLED: 1}


@pytest.mark.parametrize("away_at", [1020.5, 1020.7])
def test_an_answer_that_could_not_be_settled_because_postgresql_was_away_is_told_apart(run, away_at):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1)  # answered at 1020.6
    run.event(Fault.POSTGRES_AWAY, "PostgreSQL", at=away_at, seconds=20.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1025.0, pid=7)
    give_up(run, claim, at=1046.0)

    assert causes(run) == {Cause.NOWHERE_TO_SETTLE: 1}
    assert explain(Books(run.evidence)).rest == 1, "its worker had written it down"


def test_an_answer_that_a_living_worker_did_not_settle_is_unexplained(run):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.UNEXPLAINED: 1}
    assert not explain(Books(run.evidence)).is_met


def test_a_kill_of_an_earlier_process_with_the_same_number_explains_nothing(run):
    run.event(Fault.KILL_WORKER, "worker 1", at=1002.0, pid=7)
    run.worker("another", pid=7, at=1003.0)
    run.accept("job", at=1010.0)
    claim = run.claim("job", worker="another", at=1011.0)
    run.mark("job", claim, at=1012.0)
    run.dot("job", at=1012.1)
    give_up(run, claim, at=1026.0)

    assert causes(run) == {Cause.UNEXPLAINED: 1}


def test_unknowns_that_a_late_answer_closed_are_counted_apart(run):
    claim = marked(run, at=1020.0)
    run.dot("job", at=1020.1)
    give_up(run, claim, at=1026.0)
    run.settle("job", "completed", "sent", claim, "sent")

    found = explain(Books(run.evidence))

    assert (found.listed, found.closed_by_late_answers) == ([], 1)


# ── Recovery ──────────────────────────────────────────────────────────────────────────────────


def test_recovery_is_from_the_kill_to_the_move_out_of_running(run):
    run.accept("job", at=1010.0)
    claim = run.claim("job", at=1011.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1012.0, pid=7)
    run.settle("job", "queued", "released", claim, at=1017.5)

    assert recovery(Books(run.evidence)).plain.values == [5.5]


def test_a_job_that_had_ended_before_the_kill_needs_no_recovery(run):
    run.send("job")
    run.event(Fault.KILL_WORKER, "worker 1", at=run.now + 1, pid=7)

    assert recovery(Books(run.evidence)).plain.values == []


def test_with_postgresql_away_in_between_it_counts_from_its_return(run):
    run.accept("job", at=1010.0)
    claim = run.claim("job", at=1011.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1012.0, pid=7)
    run.event(Fault.POSTGRES_AWAY, "PostgreSQL", at=1013.0, seconds=20.0)
    run.settle("job", "queued", "released", claim, at=1038.5)

    found = recovery(Books(run.evidence))

    assert (found.plain.values, found.after_an_outage.values) == ([], [5.5])


def test_the_time_in_which_postgresql_restarts_does_not_count(run):
    run.accept("job", at=1010.0)
    claim = run.claim("job", at=1011.0)
    run.event(Fault.KILL_WORKER, "worker 1", at=1012.0, pid=7)
    run.event(Fault.RESTART_POSTGRES, "PostgreSQL", at=1013.0, seconds=0.5)
    run.settle("job", "queued", "released", claim, at=1018.5)

    assert recovery(Books(run.evidence)).plain.values == [6.0]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_quantiles_are_values_that_were_seen(share, value):
    assert Times.of(float(n) for n in range(100, 0, -1)).quantile(share) == value


def test_of_nothing_there_is_no_quantile():
    assert Times.of([]).quantile(0.5) is None


# ── After an outage ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def outage(run: MadeUpRun) -> MadeUpRun:
    """PostgreSQL was away from 1100 to 1120."""
    run.event(Fault.POSTGRES_AWAY, "PostgreSQL", at=1100.0, seconds=20.0)
    return run


def after(run: MadeUpRun):
    return returns(Books(run.evidence), Fault.POSTGRES_AWAY)


def test_the_api_is_back_with_its_last_5xx(outage):
    outage.evidence.complaints += [Complaint(503, 1, at) for at in (1105.0, 1119.0, 1121.5)]

    assert after(outage).complaint.values == [1.5]


def test_each_workers_first_heartbeat_counts_unless_it_was_paused(outage):
    outage.worker("slow", pid=8, at=1050.0)
    outage.worker("paused", pid=9, at=1051.0)
    for worker, at in (("w", 1120.4), ("slow", 1121.2), ("paused", 1128.0)):
        outage.beat(worker, at=at)
    outage.event(Fault.PAUSE_WORKER, "worker 3", at=1119.0, seconds=8.0, pid=9)

    assert after(outage).beat.values == pytest.approx([0.4, 1.2])


def test_the_first_claim_counts_where_a_job_was_waiting(outage):
    outage.accept("job", at=1099.0)
    outage.claim("job", at=1120.7)

    assert after(outage).claim.values == pytest.approx([0.7])


def test_the_first_claim_of_a_job_that_came_later_says_nothing(outage):
    outage.accept("job", at=1125.0)
    outage.claim("job", at=1125.1)

    assert after(outage).claim.values == []


@pytest.mark.parametrize(("lost_at", "counts"), [(1110.0, False), (1121.0, False), (1100.0, True), (1125.0, True)])
def test_the_first_claim_stands_apart_while_what_a_lost_worker_had_in_hand_is_tried_alone(outage, lost_at, counts):
    outage.accept("job", at=1099.0)
    outage.event(Fault.KILL_WORKER, "worker 3", at=lost_at, seconds=1.0, pid=9)
    outage.claim("job", at=1124.0)

    assert [bool(times.values) for times in (after(outage).claim, after(outage).claim_amid_trials)] == [
        counts,
        not counts,
    ]


def test_the_first_promotion_counts_where_a_retry_was_overdue(outage):
    outage.accept("job", at=1090.0)
    claim = outage.claim("job", at=1091.0)
    outage.settle("job", "scheduled", "released", claim, "transient", at=1099.0)
    outage.move("job", "queued", claim=claim, at=1120.3)

    assert after(outage).chore.values == pytest.approx([0.3])


def test_a_return_into_the_next_outage_says_nothing(outage):
    outage.event(Fault.RESTART_POSTGRES, "PostgreSQL", at=1121.0, seconds=1.0)
    outage.beat("w", at=1122.5)

    assert after(outage).beat.values == []
