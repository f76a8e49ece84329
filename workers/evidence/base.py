"""The shape that all sources of evidence share: a provider's own book, which can be asked about one message.

    evidence = await source.was_accepted("<0198…@example.org>")

What a source must promise stands in docs/unknowns.md; in short:

    True    the provider has taken the message. Settles the job as sent.
    False   it has not, and never will from any connection that is open now. Sends the job again, so it is only for a
            book that is complete, and that knows of every message still under way.
    None    anything else. An empty answer proves nothing where the book is written late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a provider's book says of one message; `detail` is for people, one line, without addresses."""

    accepted: bool | None
    detail: str


class NoAnswer(Exception):
    """The source could not be asked; leave it alone for `rest_seconds`. `is_setting_wrong`: until somebody mends it."""

    def __init__(self, detail: str, *, rest_seconds: float = 30.0, is_setting_wrong: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.rest_seconds = rest_seconds
        self.is_setting_wrong = is_setting_wrong


class Source(Protocol):
    """One provider that can be asked. Its caller gives it some seconds, then cancels."""

    name: str  # what kind of book it is, for people and for metrics: "mailgun"

    async def was_accepted(self, message_id: str) -> Evidence:
        """`message_id` with its angle brackets, the same for every attempt of one job. Raises NoAnswer."""
