"""Replies and what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import errors
from workers.smtp_replies import MAX_LINE, MAX_LINES, MAX_PENDING, Garbled, Reply, ReplyParser, verdict


def parsed(*pieces: bytes) -> list[Reply]:
    parser, replies = ReplyParser(), []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.take()) is not None:
            replies.append(reply)
    return replies


@pytest.mark.parametrize(
    ("raw", "code", "enhanced", "text"),
    [
        (b"250 OK\r\n", 250, None, "OK"),
        (b"250\r\n", 250, None, ""),
        (b"250 \r\n", 250, None, ""),
        (b"250 2.0.0 Ok: queued as 1F\r\n", 250, "2.0.0", "Ok: queued as 1F"),
        (b"250 2.0.0\r\n", 250, "2.0.0", ""),
        (b"550-5.1.1 No such user\r\n550 5.1.1 Ask postmaster\r\n", 550, "5.1.1", "No such user Ask postmaster"),
        (b"550-first\n550 second\n", 550, None, "first second"),
        (b"220 1.2.3 is no enhanced status\r\n", 220, None, "1.2.3 is no enhanced status"),
    ],
)
def test_a_reply_is_code_enhanced_status_and_text(raw, code, enhanced, text):
    assert parsed(raw) == [Reply(code, enhanced, text)]


def test_replies_come_out_whole_however_the_bytes_arrive():
    raw = b"250-one\r\n250 two\r\n354 go\r\n421 4.3.2 bye\r\n"

    assert parsed(raw) == parsed(*[bytes([byte]) for byte in raw])
    assert [reply.code for reply in parsed(raw)] == [250, 354, 421]


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n",
        b"99 no\r\n",
        b"650 no\r\n",
        b"250_ok\r\n",
        b"250-one\r\n251 two\r\n",
        b"\r\n",
        b"\xff\xfe\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xd9\xb2\xd9\xb5\xd9\xa0 digits, but of another script\r\n",
    ],
)
def test_what_is_no_reply_is_garbled_and_stays_so(raw):
    parser = ReplyParser()
    parser.feed(raw)

    for _ in range(2):
        with pytest.raises(Garbled):
            parser.take()
        parser.feed(b"250 OK\r\n")


@pytest.mark.parametrize(
    "flood",
    [b"2" * (MAX_LINE + 1), b"250 " + b"x" * MAX_LINE + b"\r\n", b"250-x\r\n" * MAX_LINES, b"250 x\r\n" * MAX_PENDING],
)
def test_a_server_that_never_ends_eats_no_memory(flood):
    parser = ReplyParser()
    parser.feed(flood)

    with pytest.raises(Garbled):
        [*iter(parser.take, None)]
    parser.feed(flood)
    assert len(parser._buffer) == 0


def test_half_a_line_counts_as_input():
    parser = ReplyParser()
    assert not parser.has_input

    parser.feed(b"4")

    assert parser.has_input
    assert parser.take() is None


def test_nothing_that_postgresql_would_refuse_is_left_in_the_words():
    [reply] = parsed(b"550 5.1.1 no\x00such\x1b[31m us\xe9r\x7f\r\n")

    assert reply.text == "no such [31m us\ufffdr"
    assert len(parsed(b"550 " + b"long " * 300 + b"\r\n")[0].detail) <= 500


@given(st.binary(max_size=300))
def test_no_input_breaks_the_parser(raw):
    try:
        replies = parsed(raw)
    except Garbled:
        return
    for reply in replies:
        assert "\0" not in reply.detail


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"550 5.1.1 No such user", "smtp_mailbox_unavailable"),
        (b"550 No such user", "smtp_mailbox_unavailable"),
        (b"552 5.2.2 Mailbox full", "smtp_mailbox_full"),
        (b"552 Too much", "smtp_too_big"),
        (b"554 5.7.1 Spam", "smtp_policy"),
        (b"554 No", "smtp_5xx"),
        (b"550 5.6.0 Bad content", "smtp_content"),
        (b"500 What", "smtp_5xx"),
        (b"550 4.2.2 Over quota", "smtp_mailbox_full"),
    ],
)
def test_a_5xx_is_permanent(raw, kind):
    refusal = verdict(parsed(raw + b"\r\n")[0])

    assert isinstance(refusal, errors.Permanent)
    assert (refusal.kind, refusal.code) == (kind, int(raw[:3]))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"421 4.3.2 Closing", "smtp_closing"),
        (b"450 4.2.1 Busy", "smtp_mailbox_unavailable"),
        (b"451 4.7.1 Greylisted, come back", "smtp_greylisted"),
        (b"450 Graylisting in effect", "smtp_greylisted"),
        (b"451 4.7.1 Rate", "smtp_policy"),
        (b"452 4.5.3 Too many recipients", "smtp_too_many_recipients"),
        (b"451 Local error", "smtp_4xx"),
        (b"451 4.4.1 No route", "smtp_routing"),
        (b"450 5.1.1 Contradiction", "smtp_mailbox_unavailable"),
        (b"535 5.7.8 Bad credentials", "smtp_auth"),
        (b"530 5.7.0 Authenticate first", "smtp_auth"),
        (b"534 5.7.9 Stronger", "smtp_auth"),
        (b"552 5.5.3 Too many recipients", "smtp_too_many_recipients"),
        (b"552 Too many recipients", "smtp_too_many_recipients"),
    ],
)
def test_a_4xx_and_what_is_the_operators_to_correct_is_transient(raw, kind):
    refusal = verdict(parsed(raw + b"\r\n")[0])

    assert isinstance(refusal, errors.Transient)
    assert (refusal.kind, refusal.code) == (kind, int(raw[:3]))


def test_a_reply_that_contradicts_itself_says_so():
    assert "disagree: 550 and 4.2.2" in verdict(Reply(550, "4.2.2", "Over quota")).detail
    assert "disagree" not in verdict(Reply(550, "5.2.2", "Over quota")).detail
    assert len(verdict(Reply(550, "4.2.2", "x" * 500)).detail) <= 500
