"""The plan: everything that chance decides, by the seed and by nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from scheduler.torture import fates, faults
from scheduler.torture.faults import CHAOS, Fault
from scheduler.torture.plan import CLIENTS_AT_ONCE, Plan, Wish, make_plan

SERVERS = (Fault.RESTART_POSTGRES, Fault.POSTGRES_AWAY)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Wish(seed=7))


def of_kind(plan: Plan, *kinds: Fault) -> list[tuple[float, float]]:
    return [(strike.at, strike.at + strike.seconds) for strike in plan.strikes if strike.fault in kinds]


def test_the_same_seed_gives_the_same_plan(plan):
    assert make_plan(Wish(seed=7)) == plan


def test_another_seed_gives_another_plan(plan):
    other = make_plan(Wish(seed=8))

    assert [job.at for job in other.jobs] != [job.at for job in plan.jobs]
    assert other.fates != plan.fates
    assert other.strikes != plan.strikes


# ── Jobs ──────────────────────────────────────────────────────────────────────────────────────


def test_jobs_come_in_every_shape_over_the_whole_time(plan):
    shapes = Counter(
        "welcome" if "email" in job.body else "shared" if "dedupe_key" in job.body else "plain" if job.key else "bare"
        for job in plan.jobs
    )

    assert len(plan.jobs) == 2000
    assert shapes.keys() == {"welcome", "shared", "plain", "bare"}
    assert shapes["bare"] < 100  # a client without a key cannot know what became of a lost answer
    assert {job.body.get("priority", "default") for job in plan.jobs} == {"high", "default", "low"}
    assert any("delay_seconds" in job.body for job in plan.jobs)
    assert plan.jobs[0].at < 2
    assert plan.seconds - 2 < plan.jobs[-1].at <= plan.seconds


def test_about_one_key_in_twenty_is_submitted_by_many_clients_at_once(plan):
    at_once = [job for job in plan.jobs if job.clients == CLIENTS_AT_ONCE]

    assert 40 < len(at_once) < 160
    assert all(job.key for job in at_once)
    assert all(job.clients == 1 for job in make_plan(Wish(seed=7, faults=frozenset())).jobs)


def test_jobs_of_a_group_share_a_dedupe_key_and_no_idempotency_key(plan):
    shared = [job for job in plan.jobs if "dedupe_key" in job.body]

    assert all(job.body["dedupe_key"] == job.group for job in shared)
    assert max(Counter(job.group for job in shared).values()) > 1
    assert len({job.key for job in shared}) == len(shared)


def test_no_two_jobs_have_an_address_in_common_but_the_same_welcome(plan):
    letters = [job.recipient for job in plan.jobs if "email" not in job.body]

    assert len(set(letters)) == len(letters)
    assert all(job.body["payload"]["from"] == job.recipient for job in plan.jobs if "payload" in job.body)


# ── Fates ─────────────────────────────────────────────────────────────────────────────────────


def test_few_jobs_are_made_ambiguous_by_the_server_and_few_are_refused_for_good(plan):
    ambiguous = {fates.KEEP_AND_DROP, fates.THROW_AND_DROP, fates.KEEP_AND_STALL}
    troubles = [trouble for fate in plan.fates.values() for trouble in fate]
    in_doubt = sum(t.does in ambiguous or (t.phase, t.does) == ("body", fates.STALL) for t in troubles)
    refused = sum(t.does in fates.NEVER for t in troubles)

    assert 0.01 < in_doubt / 2000 < 0.05
    assert 0.01 < refused / 2000 < 0.04


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "body", "dot"])
def test_trouble_comes_at_every_phase(plan, phase):
    assert any(trouble.phase == phase for fate in plan.fates.values() for trouble in fate)


def test_trouble_comes_to_connections_before_they_name_a_job():
    troubles = [fates.plan_connection(7, number, frozenset(Fault)) for number in range(2000)]

    assert {trouble.phase for trouble in troubles if trouble} == {"banner", "ehlo"}
    assert sum(trouble is not None for trouble in troubles) < 200


@pytest.mark.parametrize("fault", sorted(set(Fault) - CHAOS - {Fault.SAME_KEY}))
def test_a_fault_that_is_off_does_not_happen_and_the_others_stay_as_they_were(plan, fault):
    without = make_plan(Wish(seed=7, faults=frozenset(Fault) - {fault}))
    happens = {fates.fault_of(trouble) for fate in plan.fates.values() for trouble in fate}

    assert fault in happens
    assert without.fates == {
        address: tuple(trouble for trouble in fate if fates.fault_of(trouble) is not fault)
        for address, fate in plan.fates.items()
    }
    assert without.jobs == plan.jobs
    assert without.strikes == plan.strikes


# ── Strikes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(1, 21))
def test_every_kind_of_strike_comes_in_every_seed(seed):
    plan = make_plan(Wish(seed=seed))

    assert {strike.fault for strike in plan.strikes} == CHAOS
    assert all(0 <= strike.at <= plan.seconds for strike in plan.strikes)
    assert max(strike.seconds for strike in plan.strikes if strike.fault is Fault.POSTGRES_AWAY) == 20


@pytest.mark.parametrize("seed", range(1, 21))
def test_what_is_down_is_not_struck_again(seed):
    plan = make_plan(Wish(seed=seed))
    struck: dict[str, list[tuple[float, float]]] = {"postgres": of_kind(plan, *SERVERS)}
    struck["scheduler"] = of_kind(plan, Fault.KILL_SCHEDULER)  # two run so that one can die
    for number in (1, 2, 3):
        struck[f"worker {number}"] = [
            (strike.at, strike.at + strike.seconds)
            for strike in plan.strikes
            if strike.fault in (Fault.KILL_WORKER, Fault.PAUSE_WORKER) and strike.number == number
        ]

    for spans in struck.values():
        for (_, end), (begin, _) in zip(sorted(spans), sorted(spans)[1:], strict=False):
            assert end < begin


def test_a_worker_is_paused_beyond_its_lease(plan):
    pauses = of_kind(plan, Fault.PAUSE_WORKER)

    assert pauses
    assert all(end - begin > Wish().lease_seconds for begin, end in pauses)


def test_a_short_run_has_a_shorter_outage():
    plan = make_plan(Wish(seed=7, minutes=0.4))

    assert all(end - begin <= 6.0 for begin, end in of_kind(plan, Fault.POSTGRES_AWAY))


# ── Their names ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("all", set(Fault)),
        ("none", set()),
        ("4xx, kill-worker", {Fault.TRANSIENT, Fault.KILL_WORKER}),
        ("all,-postgres-away", set(Fault) - {Fault.POSTGRES_AWAY}),
    ],
)
def test_faults_are_chosen_by_name_and_told_the_same_way(text, chosen):
    assert faults.read(text) == chosen
    assert faults.read(faults.told(chosen)) == chosen


def test_a_misspelt_fault_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"'kill-wrker' is no fault; there are: all, none, refuse, .*same-key"):
        faults.read("kill-wrker")


def test_more_workers_are_all_struck():
    plan = make_plan(replace(Wish(seed=7), workers=5, minutes=10))
    numbers = {strike.number for strike in plan.strikes if strike.fault is Fault.KILL_WORKER}

    assert numbers == {1, 2, 3, 4, 5}
