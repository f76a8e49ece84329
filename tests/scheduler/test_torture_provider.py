"""The SMTP server of a run plays what the plan has in store, attempt by attempt, and writes it down."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scheduler.torture import fates
from scheduler.torture.fates import Trouble
from scheduler.torture.faults import Fault
from scheduler.torture.provider import Provider

JOB, WELCOME = "j000001@torture.example", "j000002@torture.example"
MAIL = b"X-Job-ID: 1\r\n\r\nHello.\r\n"


@contextmanager
def playing(**troubles: tuple[Trouble, ...]) -> Iterator[Provider]:
    """With fates for `job` and `welcome`."""
    stored = {address: troubles.get(name, ()) for name, address in (("job", JOB), ("welcome", WELCOME))}
    provider = Provider(seed=1, fates=stored, faults=frozenset(Fault) - {Fault.HANG_UP, Fault.STALL, Fault.TRANSIENT})
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()


def send(provider: Provider, recipient: str = JOB, *, sender: str = JOB) -> None:
    with smtplib.SMTP("127.0.0.1", provider.port, timeout=30) as client:
        client.sendmail(sender, [recipient], MAIL)


def deeds(provider: Provider) -> list[tuple[str, str, str]]:
    return [(deed.recipient, deed.phase, deed.did) for deed in provider.deeds(clock=0.0)]


def test_trouble_comes_attempt_by_attempt_and_then_there_is_peace():
    busy, never = Trouble("rcpt", fates.BUSY[0]), Trouble("dot", fates.NEVER[0])
    with playing(job=(busy, never)) as provider:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(provider)
        with pytest.raises(smtplib.SMTPDataError):
            send(provider)
        send(provider)

        assert deeds(provider) == [(JOB, "rcpt", busy.does), (JOB, "dot", never.does)]
        assert [(mail.job, mail.kept, (mail.answer or "")[:3]) for mail in provider.mails(clock=0.0)] == [
            ("1", False, "550"),
            ("1", True, "250"),
        ]


def test_a_mail_whose_sender_says_nothing_is_known_by_its_recipient():
    with playing(welcome=(Trouble("rcpt", fates.BUSY[0]),)) as provider:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(provider, WELCOME, sender="no-reply@sendonce.example")
        send(provider, WELCOME, sender="no-reply@sendonce.example")

        assert deeds(provider) == [(WELCOME, "rcpt", fates.BUSY[0])]


@pytest.mark.parametrize(("does", "kept"), [(fates.KEEP_AND_DROP, True), (fates.THROW_AND_DROP, False)])
def test_a_dot_that_is_never_answered_is_in_the_book_with_what_became_of_the_mail(does, kept):
    with playing(job=(Trouble("dot", does),)) as provider:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            send(provider)

        (mail,) = provider.mails(clock=0.0)
        assert (mail.kept, mail.answer, mail.answered_at) == (kept, None, None)
        assert provider.counts() == (int(kept), 1)
        assert provider.deeds(clock=0.0)[0].is_silent


@pytest.mark.parametrize(("text", "is_whole"), [("Hello.", True), ("Hello. And good bye.", False)])
def test_a_mail_is_compared_with_what_was_submitted(text, is_whole):
    provider = Provider(seed=1, fates={JOB: ()}, faults=frozenset(), texts={JOB: text})
    provider.start()
    try:
        send(provider)
    finally:
        provider.stop()

    assert [mail.is_whole for mail in provider.mails(clock=0.0)] == [is_whole]


def test_a_connection_that_ends_after_the_invitation_leaves_no_mail():
    with playing(job=(Trouble("data", fates.INVITE_AND_DROP),)) as provider:
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            send(provider)

        assert provider.mails(clock=0.0) == []


def test_the_books_go_on_when_it_stops_and_starts_again():
    with playing() as provider:
        send(provider)
        provider.stop()
        provider.start()
        send(provider)

        assert provider.counts() == (2, 2)


def test_the_clock_of_the_book_is_set_to_that_of_the_other_books():
    with playing() as provider:
        send(provider)

        (here,), (there,) = provider.mails(clock=0.0), provider.mails(clock=1000.0)
        assert there.heard_at == here.heard_at + 1000.0
        assert there.answered_at == here.answered_at + 1000.0
