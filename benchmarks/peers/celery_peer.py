"""Celery on Redis: late acknowledgement, no results, a long prefetch (docs: Optimizing, "lots of short tasks").

python -m benchmarks.peers.celery_peer enqueue nothing 20000
python -m celery -A benchmarks.peers.celery_peer worker …
"""

from __future__ import annotations

import sys

from celery import Celery

from benchmarks.peers import gate, mail, place

app = Celery("peer", broker=place.REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
)


@app.task
def nothing(job_id: str, to: str) -> None:
    place.tally().begin()
    place.tally().done()


@app.task
def send(job_id: str, to: str) -> None:
    mail.send(job_id, to)


@app.task
def send_gated(job_id: str, to: str) -> None:
    if gate.is_first(job_id):
        mail.send(job_id, to)


def enqueue(task: str, count: int) -> None:
    with app.producer_or_acquire() as producer:
        for job in place.jobs(count):
            globals()[task].apply_async(job, producer=producer)


if __name__ == "__main__":
    if sys.argv[2] == "send_gated":
        gate.make_table()
    from benchmarks.peers import celery_peer  # under its own name: tasks are called by it

    celery_peer.enqueue(sys.argv[2], int(sys.argv[3]))
