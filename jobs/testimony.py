"""What email services have told of mails of which nobody knew whether they went out.

A service tells of a mail that was delivered, or bounced, only when it has taken it. So such an event closes the unknown
as a provider's yes does when it is asked (inquiries.py). Events come when they like, often before the unknown is one;
so the unknowns are looked through, page by page, for what was told of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs import inquiries
from jobs.columns import as_claim
from jobs.inquiries import Answer, Inquiry
from jobs.sql import run
from jobs.states import Status


@dataclass(frozen=True, slots=True)
class Testimony:
    """One unknown, and what was told of its mail."""

    inquiry: Inquiry
    answer: Answer


def page(after: int, *, limit: int) -> tuple[Sequence[Testimony], int]:
    """Of the next dead letters of unknowns, and the id behind which the next page begins; 0: from the start."""
    rows = run("witnessed_unknowns", after=after, limit=limit)
    found = [_testimony(row) for row in rows if row.told is not None]
    return found, rows[-1].dead_letter if len(rows) == limit else 0


def conclude(testimony: Testimony, *, message_id: str | None) -> Status | None:
    """The job's new status, or None when somebody else was first."""
    return inquiries.conclude(testimony.inquiry, testimony.answer, wait_seconds=0.0, message_id=message_id)


def _testimony(row: Any) -> Testimony:
    claim = as_claim(row)
    inquiry = Inquiry(row.dead_letter, claim, row.marked_for, is_dot_over=False, asked_at=row.received_at)
    at = row.at.isoformat(timespec="seconds")
    return Testimony(inquiry, Answer(row.esp, True, f"It told {row.told!r}, at {at}."))
