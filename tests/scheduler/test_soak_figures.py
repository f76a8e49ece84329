"""The soak can tell: lines through samples, the books, and each bound broken by what it is there to find."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from uuid import uuid4

import pytest
from rich.console import Console

from scheduler.soak.balance import Balance, balance
from scheduler.soak.bounds import MIB, has_passed, judge
from scheduler.soak.memory import held
from scheduler.soak.outcome import Outcome, Posts
from scheduler.soak.report import as_json, print_report, redis_bytes_per_key
from scheduler.soak.restarts import Restart
from scheduler.soak.samples import Lag, ProcessSample, Sample
from scheduler.soak.trend import quantile, trend, trend_within
from scheduler.soak.wish import Wish

WISH = Wish(minutes=30, rate=200, workers=3, apis=1, restart_every=60, seed=1, kill=False)
BYTES_PER_KEY = 130
LIFE_SECONDS = 120.0


# ── Lines ─────────────────────────────────────────────────────────────────────────────────────


def test_a_line_is_found_through_points_that_stand_on_it():
    line = trend([(x, 5 + 0.5 * x) for x in range(0, 100, 10)])

    assert line.per_hour == pytest.approx(1800)
    assert line.error == pytest.approx(0, abs=1e-6)
    assert (line.growth, line.level, line.seconds) == (pytest.approx(45), pytest.approx(27.5), 90)


def test_noise_is_no_growth():
    chance = random.Random(1)
    line = trend([(float(x), chance.gauss(100, 10)) for x in range(0, 1000, 10)])

    assert not line.grows_by_more_than(0)
    assert line.error > 0


def test_growth_is_found_in_noise():
    chance = random.Random(1)
    line = trend([(float(x), chance.gauss(100, 10) + x / 20) for x in range(0, 1000, 10)])

    assert line.growth == pytest.approx(50, abs=10)
    assert line.grows_by_more_than(20)
    assert not line.grows_by_more_than(100)


def test_lives_on_different_levels_have_their_slope_in_common():
    first = [(float(x), 100 + 2.0 * x) for x in range(0, 60, 10)]
    second = [(float(x), 20 + 2.0 * (x - 60)) for x in range(60, 120, 10)]

    assert trend_within([first, second]).per_hour == pytest.approx(7200)
    assert trend(first + second).per_hour < 0  # which is what one line through both would say


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 1.0)] * 10])
def test_nothing_is_said_about_too_few_points(points):
    assert trend(points) is None


def test_quantiles_of_sorted_values():
    assert [quantile(range(100), share) for share in (0.0, 0.5, 0.99, 1.0)] == [0, 50, 99, 99]
    assert quantile([], 0.5) == 0


# ── The books ─────────────────────────────────────────────────────────────────────────────────


def ids(count: int) -> list[bytes]:
    return [uuid4().bytes for _ in range(count)]


def test_books_that_agree():
    jobs = ids(3)

    assert balance(b"".join(jobs), [(job, "completed") for job in jobs], Counter(jobs)) == Balance(3, 3, sent_once=3)


@pytest.mark.parametrize(
    ("status", "copies", "fate"),
    [
        ("completed", 2, {"sent_once": 1, "duplicates": 1}),
        ("completed", 0, {"lost": 1}),
        ("unknown", 0, {"unknown": 1}),
        ("unknown", 3, {"unknown": 1, "duplicates": 2}),
        ("failed", 0, {"dead": 1}),
        ("queued", 0, {"stuck": 1}),
        ("scheduled", 1, {"stuck": 1}),
        ("running", 1, {"stuck": 1}),
        ("expired", 0, {"lost": 1}),
    ],
)
def test_each_fate_is_told_by_its_name(status, copies, fate):
    [job] = ids(1)

    found = balance(job, [(job, status)], Counter({job: copies} if copies else {}))

    assert found == Balance(1, 1, **fate)
    assert found.holds == (set(fate) <= {"sent_once", "unknown", "dead"})


def test_an_accepted_job_without_a_row_is_lost_and_a_mail_of_no_job_is_a_stranger():
    known, gone, stranger = ids(3)

    found = balance(known + gone, [(known, "completed")], Counter([known, stranger]))

    assert found == Balance(2, 1, sent_once=1, lost=1, strangers=1)
    assert not found.holds


# ── Bounds ────────────────────────────────────────────────────────────────────────────────────


def a_process(name: str, pid: int, *, age: float, rss: float) -> ProcessSample:
    return ProcessSample(
        name=name,
        pid=pid,
        age=age,
        rss=int(rss),
        uss=int(rss - 10 * MIB),
        cpu_seconds=age / 10,
        files=20,
        threads=5,
        to_postgres=3,
        to_redis=2,
    )


def a_sample(at: float) -> Sample:
    """Of a platform in its steady state; a worker fills its caches, and is another process every two minutes."""
    remembered = int(min(at, WISH.ttl_seconds) * WISH.rate)
    life, age = divmod(at, LIFE_SECONDS)
    return Sample(
        at=at,
        posted=int(at * WISH.rate),
        accepted=int(at * WISH.rate),
        at_server=int(at * WISH.rate),
        waiting={"scheduled": 0, "queued": 8, "running": 12},
        unknown=0,
        dead=0,
        lag=Lag(2000, 0.05, 0.2),
        lists={"default": 8},
        redis_keys=remembered,
        redis_bytes=2 * MIB + BYTES_PER_KEY * remembered,
        connections=27,
        tables={"jobs_job": int(at * WISH.rate * 2000)},
        machine_busy=0.7,
        processes=[
            a_process("api 1", 10, age=at, rss=90 * MIB),
            a_process("worker 1", 20, age=at, rss=85 * MIB),
            a_process("worker 2", 1000 + int(life), age=age, rss=(80 + min(age, 50) / 10) * MIB),
            a_process("PostgreSQL", 30, age=at, rss=400 * MIB),
        ],
    )


@pytest.fixture
def outcome() -> Outcome:
    jobs = int(WISH.seconds * WISH.rate)
    return Outcome(
        wish=WISH,
        samples=[a_sample(float(at)) for at in range(0, 1801, 10)],
        restarts=[Restart("worker 2", at, 2.0) for at in range(120, 1800, 120)],
        falls=[],
        posts=Posts({"202": jobs}, [0.01] * 100, [0.0] * 100, missed=0),
        balance=Balance(jobs, jobs, sent_once=jobs),
        audit_holds=True,
        audit_words="",
        lag=(0.05, 0.2, 1.0),
        processors=2,
    )


def broken(outcome: Outcome) -> list[str]:
    return [bound.name for bound in judge(outcome) if bound.holds is False]


def with_samples(outcome: Outcome, **change) -> Outcome:
    """Each given field as a function of the sample."""
    changed = [replace(s, **{name: make(s) for name, make in change.items()}) for s in outcome.samples]
    return replace(outcome, samples=changed)


def with_process(outcome: Outcome, name: str, **change) -> Outcome:
    def processes(sample: Sample) -> list[ProcessSample]:
        return [
            replace(p, **{field: make(sample.at, p) for field, make in change.items()}) if p.name == name else p
            for p in sample.processes
        ]

    return with_samples(outcome, processes=processes)


def test_a_steady_run_passes(outcome):
    assert broken(outcome) == []
    assert has_passed(judge(outcome))
    assert [bound for bound in judge(outcome) if bound.holds is None] == []


@pytest.mark.parametrize("fate", ["duplicates", "lost", "stuck", "strangers"])
def test_books_that_do_not_balance_are_broken(outcome, fate):
    assert broken(replace(outcome, balance=replace(outcome.balance, **{fate: 1}))) == ["books"]


def test_unknown_without_a_fault_is_broken_but_not_after_kills(outcome):
    unsure = replace(outcome, balance=replace(outcome.balance, unknown=3))

    assert broken(unsure) == ["unknown"]
    assert broken(replace(unsure, wish=replace(WISH, kill=True))) == []


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"audit_holds": False, "audit_words": "sent_twice 1"}, "audit"),
        ({"falls": ["worker 1, exit status 1: oops"]}, "fallen processes"),
        ({"balance": Balance(1, 1, sent_once=1, dead=1)}, "dead"),
        ({"posts": Posts({"202": 300_000}, [], [], missed=60_000)}, "rate reached"),
        ({"posts": Posts({"202": 359_999, "503": 1}, [], [], missed=0)}, "answers other than 202"),
    ],
)
def test_what_went_wrong_breaks_its_bound(outcome, change, bound):
    assert broken(replace(outcome, **change)) == [bound]


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"waiting": lambda s: {"queued": int(s.at * 2)}}, "backlog"),
        ({"connections": lambda s: 27 + int(s.at / 100)}, "PostgreSQL connections"),
        ({"redis_keys": lambda s: s.redis_keys + int(s.at * 2)}, "Redis keys beyond its memory"),
        ({"redis_bytes": lambda s: s.redis_bytes + int(s.at * 2000)}, "Redis memory"),
    ],
)
def test_what_grows_breaks_its_bound(outcome, change, bound):
    assert broken(with_samples(outcome, **change)) == [bound]


def test_a_rate_that_changes_does_not_look_like_keys_that_stay(outcome):
    def sent(at):
        return int(at * 200 + max(0.0, at - 900) * 100)

    faster = with_samples(
        outcome,
        at_server=lambda s: sent(s.at),
        redis_keys=lambda s: sent(s.at) - sent(max(0.0, s.at - WISH.ttl_seconds)),
    )

    assert broken(faster) == []


def test_a_process_that_leaks_is_found(outcome):
    leaking = with_process(outcome, "api 1", rss=lambda at, p: int(p.rss + at / 3600 * 20 * MIB))

    assert broken(leaking) == ["memory: api 1"]
    assert held(leaking, "api 1").slope.per_hour / MIB == pytest.approx(20, abs=0.1)


def test_a_cache_that_fills_in_the_warm_up_is_no_leak(outcome):
    filling = with_process(outcome, "api 1", rss=lambda at, p: int(p.rss + min(at, 250) * MIB / 10))

    assert broken(filling) == []


def test_what_its_memory_fills_again_after_each_restart_is_no_leak(outcome):
    worker = held(outcome, "worker 2")

    assert worker.lives == 13
    assert worker.slope.per_hour == pytest.approx(0, abs=1)
    assert worker.rss == (85 * MIB, 85 * MIB)


def test_a_leak_within_each_life_is_told_though_each_is_short(outcome):
    leaking = with_process(outcome, "worker 2", rss=lambda at, p: int(p.rss + p.age / 3600 * 30 * MIB))

    assert held(leaking, "worker 2").slope.per_hour / MIB == pytest.approx(30, abs=1)


def test_restarted_processes_that_begin_ever_higher_are_found(outcome):
    growing = with_process(outcome, "worker 2", rss=lambda at, p: int(p.rss + at / 3600 * 20 * MIB))

    assert broken(growing) == ["memory across restarts: worker 2"]


@pytest.mark.parametrize(("field", "bound"), [("files", "open files"), ("threads", "threads")])
def test_files_and_threads_that_are_not_given_back_are_found(outcome, field, bound):
    leaking = with_process(outcome, "worker 1", **{field: lambda at, p: 20 + int(at / 60)})

    assert broken(leaking) == [bound]
    assert next(b.found for b in judge(leaking) if b.name == bound).startswith("worker 1: +")


def test_a_run_of_minutes_says_that_it_is_too_short_to_tell(outcome):
    short = replace(outcome, wish=replace(WISH, minutes=5), samples=outcome.samples[:31])
    leaking = with_process(short, "api 1", rss=lambda at, p: int(p.rss + at * MIB))

    verdicts = {bound.name: bound.holds for bound in judge(leaking)}

    assert verdicts["memory: api 1"] is None
    assert verdicts["PostgreSQL connections"] is None
    assert verdicts["Redis memory"] is True


# ── Telling ───────────────────────────────────────────────────────────────────────────────────


def test_what_a_key_costs_redis_is_the_slope_of_its_memory_over_its_keys(outcome):
    assert redis_bytes_per_key(outcome) == pytest.approx(BYTES_PER_KEY)
    assert redis_bytes_per_key(with_samples(outcome, redis_keys=lambda s: 20)) is None


def test_the_report_names_what_is_broken(outcome):
    console = Console(width=160)
    lost = replace(outcome, balance=replace(outcome.balance, lost=1))
    with console.capture() as said:
        print_report(console, lost, judge(lost))

    assert "FAILED: books." in said.get()
    assert "360000 drawn, 360000 accepted" in said.get()
    assert "130 bytes for each key" in said.get()


def test_the_json_says_the_same(outcome):
    told = as_json(outcome, judge(outcome))

    assert told["passed"] is True
    assert told["asked"]["gate_ttl_seconds"] == 120
    assert len(told["samples"]) == 181
    assert [process["name"] for process in told["processes"]] == ["api 1", "worker 1", "worker 2", "PostgreSQL"]


@pytest.mark.parametrize(
    ("minutes", "ttl", "warm_up", "sample"), [(30, 120, 300, 10), (1, 4, 15, 4), (0.35, 2, 5.25, 1.4)]
)
def test_periods_fit_the_length(minutes, ttl, warm_up, sample):
    wish = replace(WISH, minutes=minutes)

    assert (wish.ttl_seconds, wish.warm_up_seconds, wish.sample_seconds) == (
        ttl,
        pytest.approx(warm_up),
        pytest.approx(sample),
    )
