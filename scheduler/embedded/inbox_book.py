"""What the local inbox has taken, by Message-ID, and whether a mail is under way: for whoever asks it afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser

from scheduler.embedded.inbox_folder import HEAD_BYTES, Inbox, ReceivedMail


class Book:
    """Complete: a mail is in it before its dot is answered, and it is known whether one is still under way.

    Mails are found by what stands before the @: Sendonce's Message-IDs are unique there already, and the domain after
    it follows DEFAULT_FROM_EMAIL, which may have changed since the mail was sent.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._mails: dict[str, str] | None = None  # by what stands before the @; None until somebody asks
        self._lock = threading.Lock()
        self._under_way = 0

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """From before the 354 until the mail is kept or refused, or its connection is over. On the loop's thread."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    @property
    def is_quiet(self) -> bool:
        """Whether no mail is under way. Ask this first, then `find`: the other way round one could slip through."""
        return self._under_way == 0

    def keep(self, mail_from: str, rcpt_tos: list[str], content: bytes) -> ReceivedMail:
        """On disk, and in the book, when this returns. Raises OSError."""
        mail = self._inbox.keep(mail_from, rcpt_tos, content)
        with self._lock:
            if self._mails is not None:
                self._mails[_key_of(content[:HEAD_BYTES])] = mail.id
        return mail

    def find(self, message_id: str) -> ReceivedMail | None:
        """The newest mail of this Message-ID. The first call reads the whole folder."""
        with self._lock:
            if self._mails is None:
                oldest_first = reversed(self._inbox.ids())
                self._mails = {_key_of(self._inbox.head(id)): id for id in oldest_first}
            key = _key(message_id)
            id = self._mails.get(key) if key else None  # a mail without a Message-ID is nobody's
        return self._inbox.find(id) if id else None


def _key_of(head: bytes) -> str:
    return _key(str(BytesHeaderParser().parsebytes(head).get("Message-ID", "")))


def _key(message_id: str) -> str:
    left, at, right = message_id.strip(" <>").rpartition("@")
    return left if at else right
