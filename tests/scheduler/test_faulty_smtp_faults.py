"""Faults in words: read strictly, drawn by seed, played by recipients."""

from __future__ import annotations

import re
import smtplib

import pytest

from scheduler.embedded import inbox
from scheduler.embedded.faulty_smtp import (
    ACCEPT_THEN_DROP,
    THROW_AWAY_AND_DROP,
    Act,
    AtDot,
    Delay,
    Fault,
    FaultError,
    FaultySmtp,
    Moment,
    by_chance,
    by_recipient,
    first_of,
    read_faults,
)
from scheduler.embedded.faulty_smtp.faults import RECIPIENTS_AT_DOT, REFUSED_RECIPIENTS

MESSAGE = b"Subject: Hello\r\n\r\nHello.\r\n"


@pytest.mark.parametrize(
    ("words", "faults"),
    [
        ("", []),
        ("rcpt=451 4.2.1 Later@0.1", [Fault("rcpt", "451 4.2.1 Later", 0.1)]),
        ("dot=accept-then-drop@.05", [Fault("dot", ACCEPT_THEN_DROP, 0.05)]),
        ("dot=throw-away-and-drop", [Fault("dot", THROW_AWAY_AND_DROP, 1.0)]),
        ("dot=throw-away-and-250 2.0.0 OK@1", [Fault("dot", AtDot(False, "250 2.0.0 OK"), 1.0)]),
        ("dot=accept-then-delay 2 then reset", [Fault("dot", AtDot(True, Delay(2.0, Act.RESET)), 1.0)]),
        ("banner = stall @ 0.5", [Fault("banner", Act.STALL, 0.5)]),
        ("body=delay 2.5, quit=deaf", [Fault("body", Delay(2.5), 1.0), Fault("quit", Act.DEAF, 1.0)]),
        ("rcpt=450 Not now, Ann, not you@0.5,data=drop", [Fault("rcpt", "450 Not now, Ann, not you", 0.5),
                                                          Fault("data", Act.DROP, 1.0)]),
        ("rcpt=550 no ann@example.org@0.5", [Fault("rcpt", "550 no ann@example.org", 0.5)]),
        ("rcpt=550 no ann@example.org", [Fault("rcpt", "550 no ann@example.org", 1.0)]),
    ],
)  # fmt: skip
def test_words_are_read(words, faults):
    assert read_faults(words) == faults


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("451 Later", "names no phase; write PHASE=WHAT@PROBABILITY"),
        ("rcptt=drop", "'rcptt' is no phase; use one of banner, ehlo"),
        ("rcpt=drop@2", "@2 is no probability; write a number from 0 to 1"),
        ("rcpt=drop@-0.1", "from 0 to 1"),
        ("rcpt=drop@0.1x", "from 0 to 1"),
        ("rcpt=drop@nan", "'drop@nan' cannot be played"),
        ("rcpt=hang up", "'hang up' cannot be played; use an answer such as"),
        ("rcpt=45 Later", "cannot be played"),
        ("rcpt=", "cannot be played"),
        ("rcpt=delay soon", "cannot be played"),
        ("rcpt=delay 1 then delay 2", "waits twice; add the seconds up"),
        ("rcpt=accept-then-drop", "stands at the dot only"),
        ("dot=accept-then-vanish", "'vanish' cannot be played"),
    ],
)
def test_words_that_cannot_be_played_are_refused_with_the_remedy(words, remedy):
    with pytest.raises(FaultError, match=re.escape(remedy)):
        read_faults(words)


def draws(script, phase, times=200):
    return [script(Moment(phase, 1)) for _ in range(times)]


def test_the_same_seed_draws_the_same_faults_and_another_draws_others():
    words = "rcpt=451 Later@0.3, dot=drop@0.3"

    assert draws(by_chance(words, seed=7), "rcpt") == draws(by_chance(words, seed=7), "rcpt")
    assert draws(by_chance(words, seed=7), "rcpt") != draws(by_chance(words, seed=8), "rcpt")
    assert draws(by_chance(words, seed=7), "dot") == draws(by_chance(words + ", data=drop", seed=7), "dot")


def test_faults_come_about_as_often_as_they_should_and_at_their_phase_only():
    script = by_chance("rcpt=451 Later@0.3, rcpt=drop@0.5, data=stall@0, dot=drop", seed=1)

    at_rcpt = draws(script, "rcpt", 2000)

    assert at_rcpt.count("451 Later") == pytest.approx(600, abs=100)
    assert at_rcpt.count(Act.DROP) == pytest.approx(700, abs=100)
    assert set(draws(script, "mail")) == {None}
    assert set(draws(script, "data")) == {None}
    assert set(draws(script, "dot")) == {Act.DROP}


def test_the_first_script_that_says_something_decides():
    script = first_of(lambda moment: None, lambda moment: "450 One", lambda moment: "450 Two")

    assert script(Moment("rcpt", 1)) == "450 One"
    assert first_of()(Moment("rcpt", 1)) is None


def test_the_words_of_the_local_inbox_mean_the_same_here():
    assert inbox.REFUSALS == REFUSED_RECIPIENTS
    assert RECIPIENTS_AT_DOT[inbox.SILENT] == ACCEPT_THEN_DROP


@pytest.mark.parametrize(
    ("recipient", "heard", "kept"),
    [
        ("refuse", 550, []),
        ("Defer", 451, []),
        ("spam", 554, [False]),
        ("busy", 451, [False]),
        ("silent", "closed", [True]),
        ("vanish", "closed", [False]),
        ("stall", "timeout", [True]),
        ("slow", "timeout", [True]),
        ("ann", "sent", [True]),
    ],
)
def test_recipients_play_faults_by_their_name(recipient, heard, kept):
    with FaultySmtp(script=by_recipient) as server:
        patience = 0.5 if heard == "timeout" else 30
        assert send(server, f"{recipient}@any.example", patience=patience) == heard

        assert [mail.kept for mail in server.mails] == kept


def send(server, to, *, patience):
    client = smtplib.SMTP(server.host, server.port, timeout=30)
    try:
        client.ehlo_or_helo_if_needed()
        client.sock.settimeout(patience)
        client.sendmail("shop@example.org", [to], MESSAGE)
    except smtplib.SMTPRecipientsRefused as error:
        return error.recipients[to][0]
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except smtplib.SMTPServerDisconnected as error:
        return "timeout" if "timed out" in str(error) else "closed"
    finally:
        client.close()
    return "sent"
