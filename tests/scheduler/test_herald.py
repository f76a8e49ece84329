"""The herald: a batch that has come to its end is told once, whatever happens."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from django.db import connection
from django.db.models.functions import Now

from jobs import batches, destinations, queue, requests, resolutions, transitions
from jobs.errors import QueueFull
from jobs.models import Batch, Destination, Job
from jobs.states import Decision, DestinationKind, Outcome, Status
from scheduler.loops.herald import Herald
from tests.jobs.conftest import EMAIL
from tests.jobs.transitions import builders as build

pytestmark = pytest.mark.usefixtures("committed", "bell", "no_thread_stays")

URL = "https://hooks.example.org/batches"


@pytest.fixture
def owner():
    owner = build.an_owner()
    destinations.put(owner.pk, "crm", kind=DestinationKind.WEBHOOK, url=URL, secret=None)
    return owner


def a_batch(owner, count=2, *, webhook="crm") -> Batch:
    items = [requests.read({"type": "email", "payload": EMAIL}) for _ in range(count)]
    batch, _ = batches.accept(items, owner_id=owner.pk, correlation_id="c", webhook=webhook)
    return batch


def end(batch, *statuses) -> None:
    for job, status in zip(Job.objects.filter(batch_id=batch.id).order_by("id"), statuses, strict=True):
        Job.objects.filter(pk=job.pk).update(
            status=status, finished_at=Now() if status in ("cancelled", "expired") else None
        )


def told(batch) -> list[Job]:
    return list(Job.objects.filter(type="webhook", payload__data__id=str(batch.id)))


def test_who_has_ended_is_told_with_how(owner, bell):
    batch = a_batch(owner)
    end(batch, "cancelled", "expired")

    assert Herald().run_once(0.0) == {"told": 1, "put_off": 0}

    (job,) = told(batch)
    assert (job.status, job.payload["destination"], job.payload["event"]) == ("queued", "crm", "batch.completed")
    assert job.payload["data"]["jobs"] == {"cancelled": 1, "expired": 1}
    assert (job.payload["data"]["is_final"], job.batch_id) == (True, None)
    assert queue.head("default", limit=10).count(job.id) == 1
    batch.refresh_from_db()
    assert (batch.told_by, batch.untold_because, batch.told_at is None) == (job.id, None, False)
    assert Herald().run_once(0.0) == {"told": 0, "put_off": 0}


@pytest.mark.parametrize("status", ["queued", "scheduled"])
def test_who_has_a_job_on_its_way_waits(owner, status):
    batch = a_batch(owner)
    end(batch, "cancelled", status)

    assert Herald().run_once(0.0) == {"told": 0, "put_off": 0}

    assert told(batch) == []


def test_an_unknown_has_not_ended_until_it_is_decided(owner):
    batch = a_batch(owner, 1)
    (claim,) = transitions.claim([Job.objects.get(batch_id=batch.id).id], worker=build.WORKER)
    build.gate(claim)
    build.mark(claim)
    build.settle(claim, Outcome.UNKNOWN)
    assert Herald().run_once(0.0) == {"told": 0, "put_off": 0}

    resolutions.resolve(build.letter(claim), Decision.MARK_SENT, by=None)

    assert Herald().run_once(0.0) == {"told": 1, "put_off": 0}
    assert told(batch)[0].payload["data"]["jobs"] == {"completed": 1}


def test_who_names_nobody_is_not_told(owner):
    end(a_batch(owner, webhook=None), "cancelled", "cancelled")

    assert Herald().run_once(0.0) == {"told": 0, "put_off": 0}


def test_several_clocks_tell_each_batch_once(owner):
    ended = [a_batch(owner, 1) for _ in range(8)]
    for batch in ended:
        end(batch, "cancelled")
    counts: Counter[str] = Counter()

    def clock() -> None:
        try:
            counts.update(Herald().run_once(0.0))
        finally:
            connection.close()

    threads = [threading.Thread(target=clock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    Herald().run_once(0.0)  # those that were skipped because another had them locked
    assert [len(told(batch)) for batch in ended] == [1] * 8


def test_a_destination_that_is_gone_is_said_in_the_batch(owner):
    batch = a_batch(owner, 1)
    end(batch, "cancelled")
    Destination.objects.all().delete()

    assert Herald().run_once(0.0) == {"told": 1, "put_off": 0}

    batch.refresh_from_db()
    assert (told(batch), batch.told_by) == ([], None)
    assert "no webhook of this name" in batch.untold_because


def test_who_cannot_be_told_now_is_told_later_and_holds_up_nobody(owner, monkeypatch):
    first, second = a_batch(owner, 1), a_batch(owner, 1)
    end(first, "cancelled")
    end(second, "cancelled")
    accept = batches.intake.accept_many

    def full_for_first(requests, **how):
        is_first = requests[0].options.idempotency_key == f"batch:{first.id}"
        return [QueueFull()] if is_first else accept(requests, **how)

    monkeypatch.setattr(batches.intake, "accept_many", full_for_first)
    assert Herald().run_once(0.0) == {"told": 1, "put_off": 1}
    monkeypatch.undo()

    assert Herald().run_once(0.0) == {"told": 1, "put_off": 0}
    assert (len(told(first)), len(told(second))) == (1, 1)


def test_a_batch_that_was_told_but_whose_mark_was_lost_is_not_told_twice(owner):
    """As after a restore of an older backup of the table of batches."""
    batch = a_batch(owner, 1)
    end(batch, "cancelled")
    Herald().run_once(0.0)
    Batch.objects.update(told_at=None, told_by=None)

    Herald().run_once(0.0)

    (job,) = told(batch)
    batch.refresh_from_db()
    assert batch.told_by == job.id
    assert Status(job.status) is Status.QUEUED
