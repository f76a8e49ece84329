"""The ways in which the platform can fail, and the cases that were found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Sin(StrEnum):
    """Each of them fails the run. The text says what was found."""

    text: str

    def __new__(cls, name: str, text: str) -> Sin:
        sin = str.__new__(cls, name)
        sin._value_ = name
        sin.text = text
        return sin

    DUPLICATE = "duplicate", "the server keeps one more copy than it should"
    LOST = "lost", "accepted, and neither sent, nor dead for a reason, nor waiting for a decision"
    MANGLED = "mangled", "the server keeps something else than what was submitted"
    FALSELY_UNKNOWN = "falsely unknown", "held, though its outcome is known"
    FALSELY_DEAD = "falsely dead", "a dead letter, though the server never refused it for good"
    UNMARKED = "unmarked dot", "a dot was sent without a mark of its own, committed before"
    REVIVED = "final state left", "a final state was left without a recorded decision"
    SPLIT_KEY = "key answered twice", "one Idempotency-Key led to more than one job"
    STUCK = "stuck", "still on its way, though nothing has moved for a long time"
    STRAY = "stray", "a row or a mail that no client can have caused"
    REFUSED = "refused", "the API would not take a job that is as it should be"
    FALLEN = "fallen", "a process ended by itself, or not in order when it was told to"
    UNBALANCED = "unbalanced", "manage.py audit does not hold"


@dataclass(frozen=True)
class Finding:
    """One case. `subject` is a job's id, or whatever else it is about."""

    sin: Sin
    subject: str
    why: str
    story: list[str] = field(default_factory=list)  # what is known of it, in the order of time
