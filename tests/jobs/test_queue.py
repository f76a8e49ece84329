"""Redis: a doorbell and a cache. Empty, wrong, gone or hanging, it costs time and nothing else."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import redis

from jobs import queue, redis_session
from jobs.claims import Claim, OwnKey, Waiting
from jobs.conf import tunables
from jobs.states import Lane
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def waiting(priority: str = "default", count: int = 1) -> list[Waiting]:
    return [Waiting(uuid4(), priority) for _ in range(count)]


def claim(token: int = 7, dedupe_hash: bytes = bytes(16)) -> Claim:
    return Claim(
        job_id=uuid4(),
        token=token,
        dedupe_hash=dedupe_hash,
        type="email",
        payload={},
        attempt=1,
        max_attempts=5,
        priority="default",
        provider=None,
        correlation_id="c-1",
        claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


ALL = ["high", "default", "low"]


def recalled(owner_id: int, text: str) -> UUID | None:
    key = OwnKey(owner_id, text)
    return queue.recall_keys([key]).get(key)


# ── The doorbell ──────────────────────────────────────────────────────────────────────────────


def test_first_in_first_out(bell):
    pushed = waiting(count=5)
    queue.push(pushed[:2])
    queue.push(pushed[2:])

    assert queue.head("default", limit=2) == [pushed[1].job_id, pushed[0].job_id]
    assert queue.take(ALL, limit=3, timeout_seconds=0.1) == pushed[:3]
    assert queue.take(ALL, limit=3, timeout_seconds=0.1) == pushed[3:]


def test_the_priorities_named_first_are_served_first_and_others_not_at_all(bell):
    low, default, high = (waiting(priority)[0] for priority in ("low", "default", "high"))
    queue.push([low, default, high])

    assert queue.depths() == {"high": 1, "default": 1, "low": 1}
    taken = [queue.take(["low", "high"], limit=9, timeout_seconds=0.05) for _ in range(3)]

    assert taken == [[low], [high], []]
    assert queue.depths() == {"high": 0, "default": 1, "low": 0}


def test_each_lane_has_lists_of_its_own(bell):
    message, task = waiting("default")[0], Waiting(uuid4(), "default", Lane.TASKS)
    queue.push([message, task])

    assert queue.depths() == queue.depths(Lane.TASKS) == {"high": 0, "default": 1, "low": 0}
    assert queue.head("default", limit=9, lane=Lane.TASKS) == [task.job_id]
    assert queue.take(ALL, limit=9, timeout_seconds=0.1, lane=Lane.TASKS) == [task]
    assert queue.take(ALL, limit=9, timeout_seconds=0.1) == [message]


def test_nothing_to_push_is_nothing_to_say(bell):
    assert queue.push([])
    assert bell.keys() == []


def blocked(bell) -> list[str]:
    """The clients that wait in our database: the server's own count has those of other tests, at the same time."""
    ours = str(bell.connection_pool.connection_kwargs.get("db", 0))
    return [client["id"] for client in bell.client_list() if "b" in client["flags"] and client["db"] == ours]


def test_what_rings_wakes_who_waits_longest(bell, monkeypatch):
    monkeypatch.setattr(
        redis_session, "PATIENCE_SECONDS", 30.0
    )  # nobody is to give up before it rings, however busy we are
    redis_session.server.cache_clear()
    served = []
    threads = [
        threading.Thread(target=lambda n=n: served.append((n, queue.take(ALL, limit=1, timeout_seconds=20))))
        for n in range(2)
    ]
    for number, thread in enumerate(threads):
        thread.start()
        while len(blocked(bell)) <= number:
            time.sleep(0.002)

    for thread in threads:
        queue.push(waiting())
        thread.join(timeout=25)

    redis_session.server.cache_clear()
    assert [number for number, taken in served if taken] == [0, 1]


def test_what_is_no_id_is_dropped(bell):
    job = waiting()[0]
    bell.lpush("{sendonce}:queue:default", b"", b"no id", job.job_id.bytes, b"0" * 17)

    assert queue.take(ALL, limit=9, timeout_seconds=0.1) == [job]
    bell.lpush("{sendonce}:queue:default", b"no id", job.job_id.bytes)
    assert queue.head("default", limit=9) == [job.job_id]


# ── The gate, L1 ──────────────────────────────────────────────────────────────────────────────


def test_only_sent_says_sent(bell):
    claims = [claim(token, bytes([token]) * 16) for token in range(4)]
    queue.remember_sent([claims[0].dedupe_hash, claims[1].dedupe_hash])

    assert queue.ask_gate(claims) == {0, 1}
    assert queue.ask_gate(claims) == {0, 1}, "to have asked is not to have sent"
    assert bell.get("sendonce:gate:" + "02" * 16) == b"2"


def test_who_asks_later_does_not_take_the_place_of_who_asked_first(bell):
    queue.ask_gate([claim(1)])
    queue.ask_gate([claim(2)])

    assert bell.get("sendonce:gate:" + "00" * 16) == b"1"


def test_two_of_one_key_in_a_batch_are_both_sent_to_postgres(bell):
    assert queue.ask_gate([claim(1), claim(2)]) == set()


def test_sent_is_remembered_over_whatever_stood_there_and_not_for_ever(bell, tunables):
    tunables(gate_ttl_seconds=100)
    queue.ask_gate([claim()])

    queue.remember_sent([bytes(16)])

    assert queue.ask_gate([claim()]) == {7}
    assert 90 < bell.ttl("sendonce:gate:" + "00" * 16) <= 100


def test_another_type_at_one_key_spoils_no_other_answer(bell):
    bell.lpush("sendonce:gate:" + "00" * 16, "x")
    queue.remember_sent([b"1" * 16])

    assert queue.ask_gate([claim(1), claim(2, b"1" * 16)]) == {2}


def test_a_redis_that_forgot_its_scripts_is_told_them_again(bell):
    queue.remember_sent([bytes(16)])
    bell.script_flush()

    assert queue.ask_gate([claim()]) == {7}


# ── The front door's memory ───────────────────────────────────────────────────────────────────


def test_a_key_is_remembered_for_its_owner_alone(bell, tunables):
    tunables(idempotency_hours=2)
    job_id = uuid4()

    queue.announce([], keys={OwnKey(1, "key\n with anything ü"): job_id})

    assert recalled(1, "key\n with anything ü") == job_id
    assert recalled(2, "key\n with anything ü") is None
    assert recalled(1, "key") is None
    (name,) = bell.keys()
    assert 7000 < bell.ttl(name) <= 7200
    assert b"anything" not in name, "keys may name people"


def test_new_jobs_are_rung_for_and_their_keys_remembered_in_one_go(bell):
    jobs = waiting()

    assert queue.announce(jobs, keys={OwnKey(1, "a"): jobs[0].job_id, OwnKey(1, "b"): jobs[-1].job_id})

    assert [recalled(1, key) for key in ("a", "b", "c")] == [jobs[0].job_id, jobs[-1].job_id, None]
    assert sum(queue.depths().values()) == len(jobs)


def test_a_memory_that_is_no_id_is_none(bell):
    queue.announce([], keys={OwnKey(1, "k"): uuid4()})
    bell.set(bell.keys()[0], b"rubbish")

    assert recalled(1, "k") is None


# ── Away ──────────────────────────────────────────────────────────────────────────────────────

WITHOUT = {
    "push": lambda: queue.push(waiting()) is False,
    "ask_gate": lambda: queue.ask_gate([claim()]) == set(),
    "remember_sent": lambda: queue.remember_sent([bytes(16)]) is None,
    "announce": lambda: queue.announce(waiting(), keys={OwnKey(1, "k"): uuid4()}) is False,
    "recall_keys": lambda: recalled(1, "k") is None,
}
WITH = {
    "ping": queue.ping,
    "take": lambda: queue.take(ALL, limit=1, timeout_seconds=0.1),
    "head": lambda: queue.head("default", limit=1),
    "depths": queue.depths,
}


@pytest.mark.parametrize("call", WITHOUT.values(), ids=WITHOUT)
def test_what_everybody_can_do_without_never_raises(own_redis, call):
    own_redis.kill()

    assert call()


@pytest.mark.parametrize("call", WITH.values(), ids=WITH)
def test_who_wants_redis_itself_is_told_that_it_is_away(own_redis, call):
    own_redis.kill()

    with pytest.raises(queue.Away):
        call()


def test_after_a_restart_the_first_call_finds_a_fresh_connection(own_redis):
    queue.ping()
    own_redis.kill()
    own_redis.start()

    assert queue.push(waiting())


def test_one_that_refuses_is_asked_again_at_once(own_redis):
    """Only a hanging one costs time to ask."""
    own_redis.kill()
    assert not queue.push(waiting())
    own_redis.start()

    assert queue.push(waiting())


@pytest.mark.slow
def test_a_hanging_redis_costs_one_wait_and_not_one_for_each_call(own_redis):
    queue.ping()
    own_redis.hang()
    started = time.monotonic()

    assert [call() for call in WITHOUT.values() for _ in range(3)] == [True] * 15

    own_redis.wake()
    assert redis_session.PATIENCE_SECONDS <= time.monotonic() - started < redis_session.PATIENCE_SECONDS + 1


@pytest.mark.slow
def test_whoever_wants_redis_itself_is_told_at_once_too(own_redis):
    own_redis.hang()
    with pytest.raises(redis.TimeoutError):
        queue.take(ALL, limit=1, timeout_seconds=0.1)

    for call in WITH.values():
        with pytest.raises(redis_session.Hangs):
            call()

    own_redis.wake()


@pytest.mark.slow
def test_one_that_hung_is_used_again_soon_after_it_goes_on_without_anybody_waiting_for_it(own_redis):
    own_redis.hang()
    assert not queue.push(waiting())
    own_redis.wake()

    job = waiting()
    until(lambda: queue.push(job))

    assert queue.take(ALL, limit=1, timeout_seconds=0.1) == job


@pytest.mark.slow
def test_one_that_hung_and_was_killed_refuses_and_is_asked_by_everybody_again(own_redis):
    own_redis.hang()
    assert not queue.push(waiting())

    own_redis.kill()
    until(lambda: not redis_session.outage.is_on)
    own_redis.start()

    assert queue.push(waiting())


def test_saying_nothing_to_redis_ends_no_outage(bell, monkeypatch):
    monkeypatch.setattr(redis_session.outage, "is_on", True)

    queue.remember_sent([])

    assert not queue.push(waiting())


def test_a_redis_that_takes_nothing_more_is_away_for_health_checks(own_redis):
    """It would answer PING, and refuses every push."""
    queue.ping()
    with redis.Redis.from_url(tunables().redis_url) as client:
        client.config_set("maxmemory", "1")
        assert client.ping()

    with pytest.raises(queue.Away):
        queue.ping()
