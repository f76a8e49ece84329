"""A faulty SMTP server to test against: it refuses, stalls, hangs up and throws mail away as told, and keeps a book.

    with FaultySmtp(script=lambda moment: ACCEPT_THEN_DROP if moment.phase == "dot" else None) as server:
        ...                            # let your application send to server.host, server.port
        assert len(server.accepted) == 1

Standard library only, no imports from elsewhere: the folder may be copied as it is. docs/fault-kit.md explains it.
"""

from .acts import ACCEPT_THEN_DROP, ACCEPT_THEN_STALL, THROW_AWAY_AND_DROP, Act, Answer, AtDot, AtDotRule, Delay
from .book import PHASES, Book, Mail, Moment
from .faults import Fault, FaultError, Script, by_chance, by_recipient, first_of, read_faults
from .holds import AFTER_DATA, AFTER_DOT, Hold
from .journal import Journal
from .server import FaultySmtp

__all__ = [
    "ACCEPT_THEN_DROP",
    "ACCEPT_THEN_STALL",
    "AFTER_DATA",
    "AFTER_DOT",
    "PHASES",
    "THROW_AWAY_AND_DROP",
    "Act",
    "Answer",
    "AtDot",
    "AtDotRule",
    "Book",
    "Delay",
    "Fault",
    "FaultError",
    "FaultySmtp",
    "Hold",
    "Journal",
    "Mail",
    "Moment",
    "Script",
    "by_chance",
    "by_recipient",
    "first_of",
    "read_faults",
]
