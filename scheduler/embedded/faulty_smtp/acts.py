"""What the server may be told to do at a phase, instead of giving the ordinary answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Act(Enum):
    """What a server may do instead of answering."""

    DROP = "close the connection without a word"
    RESET = "reset it"
    STALL = "hear everything and say nothing, until the client leaves"
    DEAF = "hear nothing, say nothing, for ever"


@dataclass(frozen=True)
class Delay:
    """The answer (None: the ordinary one) only after so many seconds.

    Other conversations go on meanwhile; the wait ends at once when the client leaves or the server stops.
    """

    seconds: float
    answer: str | bytes | Act | None = None


Answer = str | bytes | Act | Delay  # bytes: as they are, without a line end, and then the connection is closed


@dataclass(frozen=True)
class AtDot:
    """Whether the message is kept, and what the client hears of it (None: the ordinary 250)."""

    kept: bool
    answer: Answer | None = None


AtDotRule = Answer | AtDot | None

ACCEPT_THEN_DROP = AtDot(True, Act.DROP)
ACCEPT_THEN_STALL = AtDot(True, Act.STALL)
THROW_AWAY_AND_DROP = AtDot(False, Act.DROP)


def words(answer: AtDotRule) -> str:
    """What the client hears in the end; nothing for an act and for bytes."""
    if isinstance(answer, Delay | AtDot):
        return words(answer.answer)
    return answer if isinstance(answer, str) else ""


def is_positive(answer: AtDotRule) -> bool:
    return words(answer).startswith("2")


def or_ordinary(answer: Answer, ordinary: str) -> Answer:
    """A delay of no answer in particular delays the ordinary one."""
    if isinstance(answer, Delay) and answer.answer is None:
        return Delay(answer.seconds, ordinary)
    return answer
