"""Gauges of the whole platform: true, or left out."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from jobs import queue
from jobs.claims import Waiting
from jobs.gauges import PlatformGauges
from jobs.models import DeadLetter, Worker
from jobs.states import Decision, Reason
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell", "no_thread_stays")


def scraped() -> CollectorRegistry:
    """One scrape, in a thread of its own, as the metrics server does it."""
    told = CollectorRegistry()
    source = PlatformGauges()

    class Told:
        def collect(self):
            return families

    families: list = []
    thread = threading.Thread(target=lambda: families.extend(source.collect()))
    thread.start()
    thread.join(timeout=20)
    told.register(Told())
    return told


def test_what_waits_in_redis_is_counted_by_priority():
    queue.push([Waiting(build.uuid4(), "high")])
    queue.push([Waiting(build.uuid4(), "low") for _ in range(3)])

    told = scraped()

    values = {
        name: told.get_sample_value("queue_depth", {"lane": "messages", "priority": name})
        for name in ("high", "default", "low")
    }
    assert values == {"high": 1, "default": 0, "low": 3}


def test_the_age_is_that_of_the_job_that_has_waited_longest():
    for seconds in (5, 90, 40):
        build.set_job(build.a_job(priority="low"), pushed_at=build.ago(seconds))
    build.set_job(build.claimed(priority="high"), pushed_at=build.ago(1000))

    told = scraped()

    assert told.get_sample_value("queue_oldest_age_seconds", {"lane": "messages", "priority": "low"}) == pytest.approx(
        90, abs=5
    )
    assert told.get_sample_value("queue_oldest_age_seconds", {"lane": "messages", "priority": "high"}) == 0
    assert told.get_sample_value("queue_oldest_age_seconds", {"lane": "messages", "priority": "default"}) == 0


def test_a_worker_that_fell_silent_is_unavailable_whatever_it_last_said():
    for state, seconds in (("available", 1), ("busy", 1), ("busy", 2), ("unavailable", 1), ("busy", 60)):
        worker = build.uuid4()
        build.transitions.beat(worker, name="w", state=state, in_flight=0, completed=0)
        Worker.objects.filter(pk=worker).update(beat_at=build.ago(seconds))

    told = scraped()

    values = [
        told.get_sample_value("active_workers_count", {"state": state})
        for state in ("available", "busy", "unavailable")
    ]
    assert values == [1, 2, 2]


def test_dead_letters_count_until_somebody_decides_them():
    build.failed()
    decided, _ = build.unknown(), build.unknown()
    build.decide(decided, Decision.MARK_SENT)

    assert scraped().get_sample_value("jobs_in_dlq") == 2


def test_each_reason_tells_how_many_wait_for_a_decision_and_how_long_the_first_has_waited():
    for seconds in (7000, 3000, 90):
        DeadLetter.objects.filter(job_id=build.unknown().job_id).update(died_at=build.ago(seconds))
    build.failed()
    build.decide(build.unknown(), Decision.MARK_SENT)

    told = scraped()

    counts = {reason: told.get_sample_value("dead_letters_open", {"reason": reason}) for reason in Reason}
    assert counts == dict.fromkeys(Reason, 0) | {Reason.UNKNOWN: 3, Reason.PERMANENT: 1}
    ages = {reason: told.get_sample_value("dead_letters_oldest_age_seconds", {"reason": reason}) for reason in Reason}
    assert ages[Reason.UNKNOWN] == pytest.approx(7000, abs=5)
    assert ages[Reason.INVALID] == 0


def names(told: CollectorRegistry) -> set[str]:
    return {family.name for family in told.collect()}


FROM_POSTGRES = {
    *("queue_oldest_age_seconds", "active_workers_count", "jobs_in_dlq"),
    *("dead_letters_open", "dead_letters_oldest_age_seconds"),
}


def reached(told: CollectorRegistry) -> dict[str, float | None]:
    return {server: told.get_sample_value("server_up", {"server": server}) for server in ("redis", "postgresql")}


def test_servers_that_answer_are_up():
    assert reached(scraped()) == {"redis": 1, "postgresql": 1}


def test_without_redis_the_depth_is_left_out_and_the_rest_is_told(own_redis):
    own_redis.kill()

    told = scraped()

    assert names(told) == {*FROM_POSTGRES, "server_up"}
    assert reached(told) == {"redis": 0, "postgresql": 1}


def test_without_postgres_the_depth_is_told_and_the_rest_is_left_out(postgres):
    postgres.go_away()

    told = scraped()

    assert names(told) == {"queue_depth", "server_up"}
    assert reached(told) == {"redis": 1, "postgresql": 0}


def test_a_scrape_leaves_no_connection_behind(postgres):
    scraped()

    assert postgres.connections() <= 1, "at most the test's own"


def test_registering_asks_nobody(postgres, own_redis):
    postgres.go_away()
    own_redis.kill()
    registry = CollectorRegistry()

    registry.register(PlatformGauges())

    assert PlatformGauges().describe() == []


def test_what_is_scraped_is_prometheus_text():
    text = generate_latest(scraped()).decode()

    assert 'queue_depth{lane="messages",priority="default"} 0.0' in text
    assert "# HELP jobs_in_dlq Dead letters" in text
