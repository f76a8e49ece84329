"""SIGTERM: what is under way is finished; a second one hands back at once. Nothing is left running."""

from __future__ import annotations

import signal

import pytest

from jobs.models import DeadLetter, Worker
from scheduler.embedded.faulty_smtp import AFTER_DATA, AFTER_DOT

pytestmark = pytest.mark.slow


def test_a_delivery_under_way_is_finished_before_the_worker_goes(platform, smtp):
    late_reply = smtp.hold(AFTER_DOT)
    worker = platform.start_worker()
    under_way = platform.accept()
    platform.until(lambda: late_reply.is_reached)

    worker.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: platform.said(worker, "worker_draining"))
    too_late_for_this_worker = platform.accept()
    late_reply.release()
    platform.until(lambda: worker.returncode is not None)

    assert worker.returncode == 0
    assert platform.job(under_way).status == "completed"
    assert platform.job(too_late_for_this_worker).status == "queued"
    assert not Worker.objects.exists()
    platform.assert_books_balance()


def test_a_second_sigterm_hands_back_at_once_and_only_what_was_marked_is_unknown(platform, smtp):
    never_answered = smtp.hold(AFTER_DOT)
    worker = platform.start_worker()
    marked = platform.accept("marked@example.com")
    platform.until(lambda: never_answered.is_reached)
    never_invited = smtp.hold(AFTER_DATA)
    unmarked = platform.accept("unmarked@example.com")
    platform.until(lambda: never_invited.is_reached)

    worker.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: platform.said(worker, "worker_draining"))
    worker.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: worker.returncode is not None)

    assert worker.returncode == 0
    assert not Worker.objects.exists()
    assert platform.job(marked).status == "unknown"
    assert DeadLetter.objects.get().reason == "unknown"
    assert platform.job(unmarked).status in ("scheduled", "queued")
    assert platform.job(unmarked).attempts == 0

    platform.start_worker()
    platform.start_scheduler()
    platform.until_status("completed", unmarked)

    assert (platform.copies(marked), platform.copies(unmarked)) == (1, 1)
    platform.assert_books_balance()


def test_a_clock_told_to_stop_finishes_its_round(platform):
    scheduler = platform.start_scheduler()
    platform.until(lambda: platform.said(scheduler, "scheduler_started"))

    scheduler.ask_to_stop(signal.SIGTERM)
    platform.until(lambda: scheduler.returncode is not None)

    assert scheduler.returncode == 0
    assert platform.said(scheduler, "scheduler_stopped")
