"""Letters for the tests of SMTP, without the writing of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from workers.channels.letter import Letter

BODY = b"Subject: Hello\r\nMessage-ID: <1@sendonce.example>\r\n\r\nHello Ann.\r\n"

LETTER = Letter(
    provider=None,
    mail_from="shop@sendonce.example",
    recipients=("ann@example.com",),
    body=BODY,
    needs_smtputf8=False,
    eight_bit=False,
    message_id="<1@sendonce.example>",
    is_last_attempt=False,
)


def letter(**changes: Any) -> Letter:
    return replace(LETTER, **changes)
