"""A mail as the peers' users send it: the standard library's message, over a connection that is kept."""

from __future__ import annotations

import smtplib
import threading
from email.message import EmailMessage
from email.utils import formatdate

from benchmarks.letter import TEXT
from benchmarks.peers import place

_mine = threading.local()


def message(job_id: str, to: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Shop <shop@example.org>"
    mail["To"] = to
    mail["Subject"] = "Your order"
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{job_id}@example.org>"
    mail["X-Job-ID"] = job_id
    mail.set_content(TEXT)
    return mail


def send(job_id: str, to: str) -> None:
    """Over this thread's connection."""
    if not hasattr(_mine, "connection"):
        _mine.connection = smtplib.SMTP("127.0.0.1", place.SMTP_PORT)
    _mine.connection.send_message(message(job_id, to))
