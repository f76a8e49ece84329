"""The inquirer: unknowns are settled by what their provider's book says; nobody waits for one that does not say."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from django.db import OperationalError, connection

from jobs import inquiries, queue
from jobs.conf import tunables
from jobs.models import DeadLetter, Delivery
from scheduler.loops import inquirer as inquirer_module
from scheduler.loops.inquirer import WAITS, Inquirer
from scheduler.loops.waker import Waker
from tests.jobs.transitions import builders as build
from tests.jobs.transitions.beside import others
from tests.workers.mailgun_server import KEY, Mailgun, mailgun
from workers.channels import letter
from workers.evidence.base import Evidence, NoAnswer
from workers.evidence.registry import sources

pytestmark = pytest.mark.usefixtures("committed", "bell")

CONF = {"lease_seconds": 30.0, "dot_timeout_seconds": 600.0}
EMAIL = {"to": "ann@example.org", "subject": "Hello", "text": "Hi."}


class Book:
    """A source that says what it was told to say, and notes what it was asked."""

    name = "a book"

    def __init__(self, said: Evidence | Exception) -> None:
        self.said = said
        self.asked: list[str] = []

    async def was_accepted(self, message_id: str) -> Evidence:
        self.asked.append(message_id)
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


class Sleeper(Book):
    """Never answers."""

    async def was_accepted(self, message_id: str) -> Evidence:
        self.asked.append(message_id)
        return await asyncio.Event().wait()


YES, NO, CANNOT_SAY = Evidence(True, "It is there."), Evidence(False, "It is not."), Evidence(None, "Who knows.")


def an_inquirer(**books) -> Inquirer:
    return Inquirer(replace(tunables(), **CONF), books)


def an_unknown(*, died: float = 6, marked: float | None = None, provider: str = "main", **columns):
    claim = build.gated(payload=EMAIL, **columns)
    assert build.mark(claim, provider)
    assert build.settle(claim, build.Outcome.UNKNOWN) == "unknown"
    DeadLetter.objects.filter(claim=claim.token).update(died_at=build.ago(died))
    Delivery.objects.filter(claim=claim.token).update(dot_at=build.ago(died if marked is None else marked))
    return claim


def age(seconds: float) -> None:
    """The time since every question so far."""
    DeadLetter.objects.exclude(asked_at=None).update(asked_at=build.ago(seconds))


def evidence(claim) -> list[tuple[bool | None, str]]:
    (row,) = DeadLetter.objects.filter(claim=claim.token, reason="unknown")
    return [(entry["accepted"], entry["detail"]) for entry in row.evidence]


# ── What an answer does ───────────────────────────────────────────────────────────────────────


def test_a_yes_completes_the_job_and_redis_hears_of_it(bell, moved):
    claim, book = an_unknown(), Book(YES)

    assert an_inquirer(main=book).run_once(0.0) == {"asked": 1, "sent": 1, "released": 0}

    assert build.where(claim) == ("completed", "sent")
    assert build.facts(claim).letters == [("unknown", "evidence")]
    assert bell.get(f"sendonce:gate:{claim.dedupe_hash.hex()}") == b"sent"
    assert moved("provider_inquiries_total", source="a book", answer="accepted") == 1


def test_the_question_names_the_message_as_its_letter_did():
    claim, book = an_unknown(), Book(YES)
    sent_as = letter.write(claim).message_id

    an_inquirer(main=book).run_once(0.0)

    assert book.asked == [sent_as]
    assert build.facts(claim).job.result["message_id"] == sent_as


def test_a_no_waits_until_no_paused_worker_can_write_its_dot_and_then_sends_again(moved):
    claim, inquirer = an_unknown(died=6, marked=620), an_inquirer(main=Book(NO))

    assert inquirer.run_once(0.0) == {"asked": 1, "sent": 0, "released": 0}
    assert build.where(claim) == ("unknown", "unknown")
    Delivery.objects.update(dot_at=build.ago(640))
    age(15)
    assert inquirer.run_once(0.0) == {"asked": 1, "sent": 0, "released": 1}

    assert build.where(claim) == ("scheduled", "released")
    assert build.facts(claim).letters == [("unknown", "evidence")]
    assert evidence(claim) == [(False, "It is not."), (False, "It is not.")]
    assert moved("provider_inquiries_total", source="a book", answer="not_accepted") == 2
    assert queue.head("default", limit=10) == [], "it waits for its next attempt"


def test_what_cannot_be_said_is_asked_again_less_and_less_often_for_a_day(moved):
    claim, book = an_unknown(), Book(CANNOT_SAY)
    inquirer = an_inquirer(main=book)

    for number, wait in enumerate(WAITS, 1):
        age(wait - 1)
        assert inquirer.run_once(0.0)["asked"] == (number == 1)  # the first waits since the burial
        age(wait + 1)
        inquirer.run_once(0.0)
        assert len(book.asked) == number
    age(10 * WAITS[-1])
    inquirer.run_once(0.0)

    assert len(book.asked) == len(WAITS)
    assert sum(WAITS) == pytest.approx(24 * 3600, rel=0.05)
    assert build.where(claim) == ("unknown", "unknown")
    assert evidence(claim) == [(None, "Who knows.")] * len(WAITS)
    assert moved("provider_inquiries_total", source="a book", answer="cannot_say") == len(WAITS)


@pytest.mark.parametrize("policy", ["assume_sent", "resend"])
def test_what_the_book_says_goes_before_the_jobs_policy(policy):
    conf = replace(tunables(), **CONF, evidence_sources={"main": "a book"})
    claim = an_unknown(died=620, marked=631, on_unknown=policy)
    DeadLetter.objects.update(asked_at=build.ago(20), asks=3)
    inquirer, waker = Inquirer(conf, {"main": Book(NO)}), Waker(conf)

    assert waker.run_once(0.0)["decided"] == 0
    assert inquirer.run_once(0.0)["released"] == 1
    assert waker.run_once(0.0)["decided"] == 0

    assert build.where(claim) == ("scheduled", "released")


def test_without_sources_nothing_is_asked():
    claim = an_unknown()

    assert an_inquirer().run_once(0.0) == {"asked": 0, "sent": 0, "released": 0}
    assert evidence(claim) == []


def test_each_provider_is_asked_about_its_own(moved):
    mine, theirs, nobodys = an_unknown(), an_unknown(provider="backup"), an_unknown(provider="other")
    main, backup = Book(YES), Book(CANNOT_SAY)

    an_inquirer(main=main, backup=backup).run_once(0.0)

    assert [book.asked for book in (main, backup)] == [[letter.message_id_of(mine)], [letter.message_id_of(theirs)]]
    assert build.where(nobodys) == ("unknown", "unknown")


# ── Providers that do not answer ──────────────────────────────────────────────────────────────


def test_a_provider_that_hangs_is_given_up_and_holds_nobody_elses_answer(monkeypatch):
    monkeypatch.setattr(inquirer_module, "ANSWER_SECONDS", 0.2)
    claim, other = an_unknown(), an_unknown(provider="backup")

    assert an_inquirer(main=Sleeper(YES), backup=Book(YES)).run_once(0.0) == {"asked": 2, "sent": 1, "released": 0}

    assert build.where(other) == ("completed", "sent")
    assert build.where(claim) == ("unknown", "unknown")
    assert evidence(claim) == [(None, "No answer within 0 s.")]


def test_a_provider_that_gave_no_answer_rests_and_is_then_asked_about_one_message_first(moved):
    for _ in range(4):
        an_unknown()
    book = Book(NoAnswer("Later.", rest_seconds=100.0))
    inquirer = an_inquirer(main=book)

    assert inquirer.run_once(1000.0)["asked"] == 4
    age(31)
    assert inquirer.run_once(1099.0)["asked"] == 0
    assert inquirer.run_once(1101.0)["asked"] == 1
    assert inquirer.run_once(1102.0)["asked"] == 0
    book.said = YES
    assert inquirer.run_once(1202.0)["asked"] == 1
    assert inquirer.run_once(1202.0)["asked"] == 2

    assert moved("provider_inquiries_total", source="a book", answer="no_answer") == 5


def test_an_answer_that_cannot_be_written_down_takes_no_other_with_it(monkeypatch):
    claims = [an_unknown(), an_unknown()]
    conclude, tries = inquiries.conclude, []

    def concluding(inquiry, answer, **how):
        tries.append(inquiry)
        if len(tries) == 1:
            raise OperationalError("PostgreSQL was away for a moment.")
        return conclude(inquiry, answer, **how)

    monkeypatch.setattr(inquiries, "conclude", concluding)

    with pytest.raises(OperationalError):
        an_inquirer(main=Book(YES)).run_once(0.0)

    assert sorted(build.where(claim) for claim in claims) == [("completed", "sent"), ("unknown", "unknown")]


def test_one_that_rests_keeps_no_other_from_being_asked():
    an_unknown()
    inquirer = an_inquirer(main=Book(NoAnswer("Later.")), backup=Book(YES))
    inquirer.run_once(0.0)
    other = an_unknown(provider="backup")

    inquirer.run_once(1.0)

    assert build.where(other) == ("completed", "sent")


def test_a_wrong_setting_is_one_error_that_names_it_however_many_questions_it_cost(caplog):
    for _ in range(3):
        an_unknown()
    wrong = NoAnswer("The key of EVIDENCE_SOURCES.", rest_seconds=600.0, is_setting_wrong=True)

    an_inquirer(main=Book(wrong)).run_once(0.0)

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "EVIDENCE_SOURCES" in str(record.msg)


def test_a_fault_in_a_source_is_told_and_counts_as_no_answer(caplog):
    claim = an_unknown()

    an_inquirer(main=Book(RuntimeError("oops"))).run_once(0.0)

    assert evidence(claim) == [(None, "The question failed: RuntimeError.")]
    assert "inquiry_failed" in caplog.text


def test_a_job_whose_letter_cannot_be_written_any_more_is_no_harm_to_the_others():
    broken, whole = an_unknown(), an_unknown()
    build.set_job(broken, payload={"to": 1})

    an_inquirer(main=Book(YES)).run_once(0.0)

    assert [build.where(claim)[0] for claim in (broken, whole)] == ["unknown", "completed"]
    assert evidence(broken) == [(None, "The question failed: Invalid.")]


def test_somebody_elses_words_are_fit_for_a_row():
    claim = an_unknown()

    an_inquirer(main=Book(Evidence(None, "a\0b\ud800" + "c" * 1000))).run_once(0.0)

    ((_, detail),) = evidence(claim)
    assert detail.startswith("a b?c")
    assert len(detail) == 500


def test_no_transaction_is_open_while_a_provider_is_asked():
    open_while_asked = []

    class Watcher(Book):
        async def was_accepted(self, message_id: str) -> Evidence:
            open_while_asked.append(connection.in_atomic_block)
            return YES

    an_unknown()
    an_inquirer(main=Watcher(YES)).run_once(0.0)

    assert open_while_asked == [False]


def test_two_inquirers_at_once_ask_once():
    claims = [an_unknown() for _ in range(8)]
    book = Book(CANNOT_SAY)
    start = threading.Barrier(2)

    def ask():
        start.wait(20)
        return an_inquirer(main=book).run_once(0.0)

    with others() as them:
        counts = [future.result(30) for future in (them.start(ask), them.start(ask))]

    while len(book.asked) < len(claims):
        counts.append(an_inquirer(main=book).run_once(0.0))
        assert counts[-1]["asked"], "skipped because of a lock, not lost"
    assert sorted(book.asked) == sorted(map(letter.message_id_of, claims))


# ── Mailgun, over HTTP ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def provider():
    with mailgun() as server:
        yield server


def test_mailguns_event_closes_the_unknown(provider: Mailgun):
    claim, other = an_unknown(), an_unknown()
    provider.note("accepted", letter.message_id_of(claim))

    Inquirer(replace(tunables(), **CONF), sources({"main": provider.url})).run_once(0.0)

    assert [build.where(c)[0] for c in (claim, other)] == ["completed", "unknown"]
    assert evidence(claim) == [(True, "Event 'accepted' at 2018-03-19T15:11:02+00:00.")]
    assert evidence(other) == [(None, "No event of this message so far; they may come late.")]


def test_a_revoked_key_is_an_error_that_does_not_show_it(provider: Mailgun, caplog):
    an_unknown()
    inquirer = Inquirer(replace(tunables(), **CONF), sources({"main": provider.url.replace(KEY, "another-key")}))

    inquirer.run_once(0.0)
    age(3600)
    inquirer.run_once(599.0)

    assert len(provider.asked) == 1
    assert "Mailgun refused the key in EVIDENCE_SOURCES (401)." in caplog.text
    assert "another-key" not in caplog.text
