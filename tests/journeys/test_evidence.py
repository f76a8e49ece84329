"""Where nobody knows whether a message went out, its provider may: it is asked, and its answer closes the unknown."""

from __future__ import annotations

import signal
import sys
import threading

import httpx
import pytest

from jobs.models import Attempt, DeadLetter
from scheduler.embedded.child import Child, free_port, is_port_free
from scheduler.embedded.faulty_smtp import ACCEPT_THEN_DROP
from scheduler.embedded.inbox_folder import Inbox
from tests.journeys.cut_wire import CutWire, Loses
from tests.journeys.platform import ROOT, metric
from tests.workers.mailgun_server import mailgun

pytestmark = pytest.mark.slow


@pytest.fixture
def inbox(tmp_path, platform):
    """The local inbox, as `make run` starts it; it is this journey's provider, and its book can be asked."""
    port, folder = free_port(), tmp_path / "inbox"
    command = [sys.executable, "-m", "scheduler.embedded.inbox", "--port", str(port), "--folder", str(folder)]
    server = Child("inbox", command, log=tmp_path / "inbox.log", cwd=ROOT)
    server.start()
    server.wait_until(lambda: not is_port_free(port), within=20)
    platform.env |= {
        "EMAIL_PROVIDERS": f"main=smtp://127.0.0.1:{port}",
        "EVIDENCE_SOURCES": f"main=inbox+smtp://127.0.0.1:{port}",
    }
    yield Inbox(folder)
    server.stop()


@pytest.fixture
def wire(platform, inbox):
    """Between the workers and the inbox."""
    wire = CutWire(to=int(platform.env["EMAIL_PROVIDERS"].rpartition(":")[2]))
    platform.env["EMAIL_PROVIDERS"] = f"main=smtp://127.0.0.1:{wire.port}"
    yield wire
    wire.close()


def copies(inbox: Inbox, job_id) -> int:
    return sum(f"X-Job-ID: {job_id}".encode() in inbox.head(id) for id in inbox.ids())


def endings(job_id) -> list[tuple[str, str | None]]:
    return list(DeadLetter.objects.filter(job_id=job_id).order_by("id").values_list("reason", "resolution"))


def answers(job_id) -> list[bool | None]:
    return [entry["accepted"] for entry in DeadLetter.objects.get(job_id=job_id, reason="unknown").evidence]


def test_killed_after_the_dot_with_the_mail_in_the_book_it_was_sent(platform, inbox, wire):
    platform.shorten_lease()
    platform.start_scheduler()
    platform.start_scheduler()  # two clocks ask no more than one
    wire.loses = Loses.REPLY
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(lambda: wire.at_dot.is_set() and inbox.ids())
    worker.kill()
    platform.until_status("completed", job_id)

    assert endings(job_id) == [("unknown", "evidence")]
    assert answers(job_id) == [True]
    assert platform.outcomes(job_id) == ["unknown", "sent"]
    assert Attempt.objects.get(job_id=job_id, outcome="sent").detail.startswith("local inbox: 250 ")
    assert platform.job(job_id).result["message_id"].startswith(f"<{job_id}@")
    assert copies(inbox, job_id) == 1


def test_killed_before_the_dot_arrived_the_mail_is_sent_once_more_when_no_dot_can_come_any_more(platform, inbox, wire):
    platform.env["DOT_TIMEOUT_SECONDS"] = "1"
    platform.shorten_lease()
    platform.start_scheduler()
    wire.loses = Loses.DOT
    job_id = platform.accept()

    worker = platform.start_worker()
    platform.until(wire.at_dot.is_set)
    worker.kill()
    wire.loses = Loses.NOTHING
    platform.start_worker()
    platform.until_status("completed", job_id)

    assert endings(job_id) == [("unknown", "evidence")]
    assert answers(job_id) == [False]
    assert platform.outcomes(job_id) == ["unknown", "transient", "sent"]
    assert copies(inbox, job_id) == 1


def test_while_a_paused_workers_dot_may_still_arrive_the_book_does_not_say_no(platform, inbox, wire):
    """The lease and the dot's time-out are over, and still the connection is open: its dot is sent, and no other."""
    platform.env["DOT_TIMEOUT_SECONDS"] = "1"
    platform.shorten_lease()
    platform.start_scheduler()
    wire.loses = Loses.DOT
    job_id = platform.accept()

    zombie = platform.start_worker()
    platform.until(wire.at_dot.is_set)
    platform.pause(zombie)
    platform.start_worker()
    platform.until_status("unknown", job_id)
    platform.until(lambda: answers(job_id))
    assert answers(job_id) == [None]
    assert copies(inbox, job_id) == 0
    wire.let_go()
    platform.until(wire.replied.is_set)
    platform.resume(zombie)
    platform.until_status("completed", job_id)

    assert endings(job_id) == [("unknown", "late_reply")]
    assert platform.outcomes(job_id) == ["unknown", "sent"]
    assert copies(inbox, job_id) == 1


def test_what_make_run_shows_a_forgetful_server_is_asked_and_a_silent_one_does_not_tell(platform, inbox):
    platform.start_worker()
    port = free_port()
    platform.start_scheduler("--metrics-port", str(port))

    forgetful, silent = platform.accept("forgetful@example.org"), platform.accept("silent@example.org")
    platform.until_status("completed", forgetful)
    platform.until(lambda: answers(silent))

    assert endings(forgetful) == [("unknown", "evidence")]
    assert endings(silent) == [("unknown", None)]
    assert answers(silent) == [None]
    assert platform.job(silent).status == "unknown"
    assert [copies(inbox, job_id) for job_id in (forgetful, silent)] == [1, 1]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert metric(text, "provider_inquiries_total", source="local inbox", answer="accepted") == 1
    assert metric(text, "provider_inquiries_total", source="local inbox", answer="cannot_say") == 1


def test_mailgun_is_asked_over_http(platform, smtp):
    with mailgun() as provider:
        platform.env["EVIDENCE_SOURCES"] = f"main={provider.url}"
        platform.start_worker()
        platform.start_scheduler()
        smtp.once("dot", ACCEPT_THEN_DROP)

        job_id = platform.accept()
        platform.until(lambda: platform.outcomes(job_id) == ["unknown"])
        provider.note("accepted", f"<{job_id}@sendonce.example>")
        platform.until_status("completed", job_id)

        assert endings(job_id) == [("unknown", "evidence")]
        assert answers(job_id) == [True]
        assert [query["message-id"] for query in provider.asked] == [f"{job_id}@sendonce.example"]
    platform.assert_books_balance()


def test_a_provider_that_hangs_holds_neither_the_other_chores_nor_the_drain(platform, smtp):
    with mailgun() as provider:
        provider.is_silent = threading.Event()
        platform.env["EVIDENCE_SOURCES"] = f"main={provider.url}"
        platform.start_worker()
        scheduler = platform.start_scheduler()
        smtp.once("dot", ACCEPT_THEN_DROP)
        unknown = platform.accept()
        platform.until(provider.is_waiting.is_set)

        later = platform.accept(delay_seconds=0.5)
        platform.until_status("completed", later)
        scheduler.ask_to_stop(signal.SIGTERM)
        platform.until(lambda: scheduler.returncode is not None)

        assert not provider.is_silent.is_set()
        assert scheduler.returncode == 0
        assert answers(unknown) == [None]
    platform.assert_books_balance()
