"""The clock: each chore for itself, and none lost to a bad day."""

from __future__ import annotations

import threading

import pytest
import structlog
from django.db import DataError, OperationalError, connection
from structlog.testing import capture_logs

from jobs.models import Job
from scheduler import ticker as module
from scheduler.loops.promoter import Promoter
from scheduler.ticker import Ticker
from tests.conftest import until
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("no_thread_stays")


class Counting:
    """Counts its rounds; on some of them it has a bad day."""

    def __init__(self, name: str = "counting", *, every: float = 0.005, bad_days: tuple[Exception, ...] = ()) -> None:
        self.name = name
        self.every_seconds = every
        self.rounds = 0
        self.bad_days = list(bad_days)
        self.nows: list[float] = []

    def run_once(self, now: float) -> dict[str, int]:
        self.rounds += 1
        self.nows.append(now)
        if self.bad_days:
            raise self.bad_days.pop(0)
        return {"counted": self.rounds, "missed": 0}


class Stuck(Counting):
    """Waits in its round until it may go on."""

    def __init__(self) -> None:
        super().__init__("stuck")
        self.may_go_on = threading.Event()

    def run_once(self, now: float) -> dict[str, int]:
        self.rounds += 1
        self.may_go_on.wait(10)
        return {}


@pytest.fixture
def a_ticker(monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    started = []

    class KeepingItsCode(Ticker):
        def run(self):
            self.code = super().run()

    def start(*chores):
        ticker = KeepingItsCode(chores)
        thread = threading.Thread(target=ticker.run, name="ticker")
        thread.start()
        started.append((ticker, thread))
        return ticker, thread

    yield start
    for ticker, thread in started:
        ticker.stop()
        thread.join(timeout=5)


def test_each_chore_is_repeated_with_the_time_of_a_clock_that_only_goes_forward(a_ticker):
    first, second = Counting("first"), Counting("second", every=0.001)

    a_ticker(first, second)

    until(lambda: first.rounds > 3 and second.rounds > 3)
    assert first.nows == sorted(first.nows)


def test_a_chore_that_is_stuck_holds_nobody_up(a_ticker):
    stuck, other = Stuck(), Counting()

    a_ticker(stuck, other)

    until(lambda: stuck.rounds == 1 and other.rounds > 3)
    stuck.may_go_on.set()


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (ValueError("a bug"), "chore_failed", "error"),
        (OperationalError("gone"), "postgres_away", "warning"),
        (DataError("no"), "chore_failed", "error"),
    ],
)
def test_a_chore_that_fails_is_told_and_repeated_and_stops_no_other(a_ticker, error, event, level):
    failing, other = Counting("failing", bad_days=(error,)), Counting("other")

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        a_ticker(failing, other)
        until(lambda: failing.rounds > 2 and other.rounds > 2)

    (told,) = [line for line in logs if line["event"] != "chore_done"]
    assert (told["event"], told["log_level"], told["chore"]) == (event, level, "failing")


def test_what_was_done_is_told_and_what_was_not_is_not(a_ticker):
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        a_ticker(Counting("counting", every=1000.0))
        until(lambda: logs)

    assert logs == [{"event": "chore_done", "chore": "counting", "counted": 1, "log_level": "info"}]


def test_stop_ends_the_wait_but_not_the_round(a_ticker):
    stuck, resting = Stuck(), Counting(every=1000.0)
    ticker, thread = a_ticker(stuck, resting)
    until(lambda: stuck.rounds and resting.rounds)

    ticker.stop()
    thread.join(timeout=0.05)
    assert thread.is_alive(), "one is still in its round"
    stuck.may_go_on.set()

    thread.join(timeout=5)
    assert not thread.is_alive()
    assert (stuck.rounds, resting.rounds) == (1, 1)


def test_waits_are_spread_so_that_clocks_do_not_march_in_step(monkeypatch):
    ticker, waits = Ticker([]), []

    class Stopping:
        def wait(self, seconds):
            waits.append(seconds)
            return len(waits) == 200

    monkeypatch.setattr(ticker, "_stopping", Stopping())

    ticker._repeat(Counting(every=10.0))

    assert 8.0 <= min(waits) < 8.5
    assert 11.5 < max(waits) <= 12.0


# ── What it tells of itself ───────────────────────────────────────────────────────────────────


def part(ticker, name):
    return next(part for part in ticker.pulse.parts() if part.name == name)


def test_a_round_that_succeeds_is_progress_and_one_that_fails_is_trouble(a_ticker):
    good, bad = Counting("good"), Counting("bad", bad_days=(ValueError("a bug"),) * 10_000)

    ticker, _ = a_ticker(good, bad)
    until(lambda: good.rounds > 2 and bad.rounds > 2)

    assert (part(ticker, "good").every_seconds, part(ticker, "good").trouble) == (0.005, "")
    assert part(ticker, "good").progress_at is not None
    assert (part(ticker, "bad").trouble, part(ticker, "bad").progress_at) == ("ValueError", None)


def test_after_a_bad_day_it_is_in_no_trouble_any_more(a_ticker):
    chore = Counting(bad_days=(OperationalError("gone"),))

    ticker, _ = a_ticker(chore)
    until(lambda: chore.rounds > 2)

    assert part(ticker, "counting").trouble == ""


def test_a_chore_whose_thread_dies_takes_the_clock_down(a_ticker):
    dying, other = Counting("dying", bad_days=(SystemExit(),)), Counting("other")  # type: ignore[arg-type]

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        ticker, thread = a_ticker(dying, other)
        thread.join(timeout=5)

    assert ticker.code == 1
    assert [line["chore"] for line in logs if line["event"] == "chore_died"] == ["dying"]


def test_while_it_waits_for_postgres_a_chore_lives(a_ticker, committed):
    begun = threading.Event()
    ticked = []

    class Waiting(Counting):
        def run_once(self, now):
            begun.wait(5)
            for question in ("SELECT 1", "SELECT pg_sleep(0.4)"):
                build.sql(question)
                ticked.append(part(ticker, self.name).ticked_at)
            return {}

    ticker, _ = a_ticker(Waiting(every=1000.0))
    begun.set()

    until(lambda: len(ticked) == 2)
    assert ticked[1] > ticked[0]


def test_two_clocks_at_once_do_the_work_once(a_ticker, committed, bell):
    for _ in range(40):
        build.a_job(delay_seconds=60)
    Job.objects.update(run_at=build.ago(1))

    a_ticker(Promoter())
    a_ticker(Promoter())

    until(lambda: not Job.objects.filter(status="scheduled").exists())
    until(lambda: bell.llen("{sendonce}:queue:default") == 40)


def test_a_clock_outlives_postgres(a_ticker, postgres):
    job_id = build.a_job(delay_seconds=60)
    with capture_logs() as logs:
        a_ticker(Promoter())
        postgres.go_away()
        until(lambda: "postgres_away" in [line["event"] for line in logs])

    postgres.come_back()
    build.set_job(job_id, run_at=build.ago(1))

    until(lambda: build.where(job_id)[0] == "queued")


def test_each_chore_leaves_its_connection_closed(a_ticker, committed, bell):
    closed = []

    class Asking(Counting):
        def run_once(self, now):
            build.sql("SELECT 1")
            closed.append(connection.connection)
            return {}

    ticker, thread = a_ticker(Asking(every=1000.0))
    until(lambda: closed)
    ticker.stop()
    thread.join(timeout=5)

    assert closed[0].closed
