"""The local inbox (or any SMTP server that knows XACCEPTED): asked over SMTP, by a command of its own.

XACCEPTED <message-id>      250  it has the message
                            550  it has not, and no message is under way on any connection
                            252  it cannot say
"""

from __future__ import annotations

import asyncio
import smtplib
from urllib.parse import SplitResult

from workers.evidence.base import Evidence, NoAnswer

ANSWERS = {250: True, 550: False}
REPLY_SECONDS = 3.0
LONGEST_DETAIL = 300


class InboxBook:
    """The book of a server on `host`:`port`, which writes before it answers the dot."""

    name = "local inbox"

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    @classmethod
    def from_url(cls, parts: SplitResult) -> InboxBook:
        """Raises ValueError with the remedy."""
        if not parts.hostname or not parts.port or parts.path.strip("/") or parts.username:
            raise ValueError("the URL is inbox+smtp://host:port and nothing else.")
        return cls(parts.hostname, parts.port)

    async def was_accepted(self, message_id: str) -> Evidence:
        code, text = await asyncio.to_thread(self._ask, message_id)
        return Evidence(ANSWERS.get(code), f"{code} {text}")

    def _ask(self, message_id: str) -> tuple[int, str]:
        try:
            with smtplib.SMTP(self._host, self._port, "localhost", timeout=REPLY_SECONDS) as client:
                client.ehlo()
                if not client.has_extn("xaccepted"):
                    raise NoAnswer("EVIDENCE_SOURCES: this server does not offer XACCEPTED.", is_setting_wrong=True)
                code, text = client.docmd("XACCEPTED", message_id)
        except (OSError, smtplib.SMTPException) as error:
            raise NoAnswer(f"The server could not be asked: {type(error).__name__}.") from error
        return code, text.decode("utf-8", "replace")[:LONGEST_DETAIL]
