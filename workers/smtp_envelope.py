"""The envelope: MAIL and RCPT, what the answers to them mean, and what this server cannot be sent at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from jobs import errors
from workers.channels.base import Refusal
from workers.channels.letter import Letter
from workers.smtp_failures import refusal
from workers.smtp_hello import Capabilities
from workers.smtp_replies import Reply

# What would end a path or a line, or add a command behind it.
_UNSAFE_IN_PATH = re.compile(r"[\x00-\x20\x7f<>]")
_MAX_PATH: Final = 254  # RFC 5321 §4.5.3.1.3, without the brackets


def refuse_unsendable(letter: Letter, capabilities: Capabilities) -> None:
    """Raise before a word is said: Invalid for a letter no server may see, Permanent for this server's limits."""
    _refuse_unsafe(letter)
    if letter.needs_smtputf8 and "SMTPUTF8" not in capabilities:
        raise errors.Permanent(
            "An address needs SMTPUTF8 (RFC 6531), which the server does not offer.", kind="smtp_utf8_unsupported"
        )
    if letter.eight_bit and "8BITMIME" not in capabilities:
        raise errors.Permanent(
            "The message is 8-bit (RFC 6152), which the server does not offer.", kind="smtp_8bit_unsupported"
        )
    limit = _size_limit(capabilities)
    if limit and len(letter.body) > limit and _true_size(letter.body) > limit:
        raise errors.Permanent(
            f"The message has {_true_size(letter.body)} bytes, the server takes {limit}.", kind="smtp_too_big"
        )


def mail_command(letter: Letter, capabilities: Capabilities) -> bytes:
    words = [b"MAIL FROM:<" + _path(letter, letter.mail_from) + b">"]
    if "SIZE" in capabilities:
        words.append(b"SIZE=%d" % len(letter.body))
    if letter.eight_bit or letter.needs_smtputf8:
        words.append(b"BODY=8BITMIME")
    if letter.needs_smtputf8:
        words.append(b"SMTPUTF8")
    return b" ".join(words) + b"\r\n"


def rcpt_commands(letter: Letter) -> list[bytes]:
    return [b"RCPT TO:<" + _path(letter, address) + b">\r\n" for address in letter.recipients]


def judge_recipients(letter: Letter, replies: Sequence[Reply]) -> tuple[tuple[str, ...], tuple[Refusal, ...]]:
    """Who gets the message and who does not; or raise, when it must not go out now (PROTOCOL 17).

    After a 2xx to the dot nobody is tried again, and a second try would be a second mail to those who have
    it. So everything is decided here: one transient refusal means again for everybody, except on
    the last attempt, when the others need not go without. Nobody left: Permanent if all refusals are.
    """
    answers = list(zip(letter.recipients, replies, strict=True))
    accepted = tuple(address for address, reply in answers if reply.is_positive)
    refused = [(address, reply) for address, reply in answers if not reply.is_positive]
    verdicts = [refusal(reply) for _, reply in refused]
    again = next((verdict for verdict in verdicts if isinstance(verdict, errors.Transient)), None)
    if again and not (accepted and letter.is_last_attempt):
        raise again
    if not accepted:
        raise verdicts[0]
    return accepted, tuple(Refusal(address, reply.code, reply.detail) for address, reply in refused)


def _path(letter: Letter, address: str) -> bytes:
    return address.encode("utf-8" if letter.needs_smtputf8 else "ascii")


def _refuse_unsafe(letter: Letter) -> None:
    """The last guard. The writer of letters promises all this; a mistake there must not become a mail here."""
    if not letter.recipients:
        raise errors.Invalid("The message has no recipients.", kind="invalid")
    for address in (letter.mail_from, *letter.recipients):
        if _UNSAFE_IN_PATH.search(address) or len(address) > _MAX_PATH:
            raise errors.Invalid("An address cannot stand in an SMTP envelope.", kind="invalid")
        if not letter.needs_smtputf8 and not address.isascii():
            raise errors.Invalid("An address is not ASCII, and the message does not ask for SMTPUTF8.", kind="invalid")
    if not _can_stand_before_the_dot(letter.body):
        raise errors.Invalid("The body's lines do not end in CRLF, or it holds a line of a single dot.", kind="invalid")


def _can_stand_before_the_dot(body: bytes) -> bool:
    """Nothing in it may end DATA before the mark, by the letter of RFC 5321 or by a server's leniency.

    Lenient servers take `LF . LF` and the like for an end (CVE-2023-51764 and its family, "SMTP
    smuggling"), so every CR and every LF must be half of a CRLF.
    """
    lines = body.count(b"\r\n")
    return (
        body.endswith(b"\r\n")
        and body.count(b"\n") == lines
        and body.count(b"\r") == lines
        and not body.startswith(b".\r\n")
        and b"\r\n.\r\n" not in body
    )


def _size_limit(capabilities: Capabilities) -> int:
    """Zero where the server names none (RFC 1870 §4)."""
    parameter = capabilities.get("SIZE", "")
    return int(parameter) if parameter.isascii() and parameter.isdigit() else 0


def _true_size(body: bytes) -> int:
    """As the server counts: without the dots that were stuffed."""
    return len(body) - body.count(b"\r\n..") - body.startswith(b"..")
