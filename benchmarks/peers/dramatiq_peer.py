"""Dramatiq on Redis, which acknowledges late by itself; without the Prometheus middleware, as its guide says for speed.

python -m benchmarks.peers.dramatiq_peer enqueue nothing 20000
python -m dramatiq benchmarks.peers.dramatiq_peer --processes 2 --threads 8
"""

from __future__ import annotations

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, ShutdownNotifications, TimeLimit

from benchmarks.peers import gate, mail, place

broker = RedisBroker(
    url=place.REDIS_URL,
    middleware=[AgeLimit(), TimeLimit(), ShutdownNotifications(), Callbacks(), Pipelines(), Retries()],
)
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing(job_id: str, to: str) -> None:
    place.tally().begin()
    place.tally().done()


@dramatiq.actor
def send(job_id: str, to: str) -> None:
    mail.send(job_id, to)


@dramatiq.actor
def send_gated(job_id: str, to: str) -> None:
    if gate.is_first(job_id):
        mail.send(job_id, to)


def enqueue(task: str, count: int) -> None:
    for job in place.jobs(count):
        globals()[task].send(*job)


if __name__ == "__main__":
    if sys.argv[2] == "send_gated":
        gate.make_table()
    enqueue(sys.argv[2], int(sys.argv[3]))
