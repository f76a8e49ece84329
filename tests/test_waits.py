"""The sums: from the return of a server until everybody works again, at worst, by the waits that stand in the code.

On top of each comes only what the work itself takes. A server that refuses (killed, restarting) is found at the next
try. One that hangs answers whatever it was asked when it goes on. The worst is one that is gone without a word, whose
network swallows everything: what was sent is lost, and is noticed when TCP sends it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from jobs import outage, redis_session
from jobs.postgres import base as postgres
from scheduler import ticker
from scheduler.loops.promoter import Promoter
from scheduler.loops.reconciler import Reconciler
from workers import heartbeat, recorder, taker

PROMISED_SECONDS = 2.0
SYN_AGAIN_SECONDS = 1.0  # RFC 6298 §2.1: a connection's first packet is sent again after a second
FIRST_AGAIN_SECONDS = 0.2  # Linux: data on an open connection, doubled each time

QUESTIONS = {"redis": redis_session.PATIENCE_SECONDS, "postgresql": postgres.QUESTION_SECONDS}


def noticed_by_a_question(patience_seconds: float) -> float:
    """While nobody else asks, one thread does: a packet a second, and a new question soon after a vain one."""
    sent_at = [0.0, SYN_AGAIN_SECONDS, patience_seconds + outage.PAUSE_SECONDS]
    return max(later - earlier for earlier, later in pairwise(sent_at))


def noticed_by_an_open_connection() -> float:
    """What was not acknowledged is sent again until the connection is given up; an idle one is asked once a second."""
    unacknowledged = [*_sent_again(postgres.DEFAULTS["tcp_user_timeout"] / 1000)]
    longest = max(later - earlier for earlier, later in pairwise(unacknowledged))
    return max(longest, postgres.DEFAULTS["keepalives_idle"], postgres.DEFAULTS["keepalives_interval"])


def _sent_again(until: float) -> Iterator[float]:
    at, wait = 0.0, FIRST_AGAIN_SECONDS
    while at < until:
        yield at
        at, wait = at + wait, wait * 2
    yield until


# After PostgreSQL could not be asked; and after Redis could not, of those who do not ask with each request.
RESTS = {
    "postgresql": {
        "API, at the next request": 0.0,
        "taker": taker.REST_SECONDS,
        "recorder": recorder.RETRY_SECONDS,
        "heartbeat": heartbeat.RETRY_SECONDS,
        "chores": ticker.RETRY_SECONDS * (1 + ticker.JITTER),
    },
    "redis": {
        "API, at the next request": 0.0,
        "taker": taker.RETRY_SECONDS + taker.POLL_SECONDS,
        "promoter": Promoter.every_seconds * (1 + ticker.JITTER),
        "reconciler": Reconciler.every_seconds * (1 + ticker.JITTER),
    },
}


@pytest.mark.parametrize(("server", "who"), [(server, who) for server, rests in RESTS.items() for who in rests])
def test_everybody_is_back_within_what_is_promised(server, who):
    assert noticed_by_a_question(QUESTIONS[server]) + RESTS[server][who] < PROMISED_SECONDS


def test_a_taker_looks_for_itself_until_everybody_knows_that_redis_is_back():
    assert noticed_by_a_question(QUESTIONS["redis"]) < taker.RETURN_SECONDS


@pytest.mark.parametrize("who", RESTS["postgresql"])
def test_so_is_who_was_in_the_middle_of_a_statement(who):
    assert noticed_by_an_open_connection() + RESTS["postgresql"][who] < PROMISED_SECONDS


def test_a_dead_server_is_left_in_peace():
    """A thread tries a few times a second and no more."""
    assert min(rest for rest in RESTS["postgresql"].values() if rest) >= 0.25
    assert taker.RETRY_SECONDS >= 0.25


def test_who_waits_for_redis_waits_longer_than_it_may_keep_silent():
    assert redis_session.PATIENCE_SECONDS > taker.LISTEN_SECONDS
    assert redis_session.PATIENCE_SECONDS > outage.SLOW_SECONDS, "a vain wait begins an outage"
