"""What a run may do to the platform, by the names that `--faults` takes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Fault(StrEnum):
    """Each with what it does, as `manage.py torture --help` tells it."""

    help: str

    def __new__(cls, name: str, help: str) -> Fault:
        fault = str.__new__(cls, name)
        fault._value_ = name
        fault.help = help
        return fault

    # The SMTP server
    REFUSE = "refuse", "it takes no connections for some seconds, and breaks those it has"
    HANG_UP = "hang-up", "it hangs up at any phase up to DATA"
    TRANSIENT = "4xx", "it answers 4xx at any phase, and to the dot"
    PERMANENT = "5xx", "it answers 5xx to RCPT, DATA or the dot, for about 2 % of the jobs"
    STALL = "stall", "it falls silent at any phase, also after the dot"
    DROP_BEFORE_DOT = "drop-before-dot", "it hangs up while the body comes"
    DROP_AFTER_DOT = "drop-after-dot", "it keeps the mail and hangs up without a word"
    THROW_AWAY = "throw-away", "it hears the dot, throws the mail away and hangs up without a word"
    SLOW = "slow", "it takes 0.1 to 3 s for an answer, so that many mails are under way at any moment"
    # The processes
    KILL_WORKER = "kill-worker", "SIGKILL, and a new start a moment later"
    KILL_SCHEDULER = "kill-scheduler", "the same, one at a time"
    KILL_API = "kill-api", "the same, one at a time"
    PAUSE_WORKER = "pause-worker", "SIGSTOP beyond its lease, then SIGCONT"
    # The servers
    FLUSH_REDIS = "flush-redis", "FLUSHALL"
    KILL_REDIS = "kill-redis", "SIGKILL, and an empty start a moment later"
    RESTART_POSTGRES = "restart-postgres", "an immediate shutdown (no checkpoint, all connections cut) and a start"
    POSTGRES_AWAY = "postgres-away", "an immediate shutdown, and a start 20 s later"
    # The clients
    SAME_KEY = "same-key", "eight clients at once submit the same job under the same Idempotency-Key"


CHAOS = frozenset(
    {
        Fault.REFUSE,
        Fault.KILL_WORKER,
        Fault.KILL_SCHEDULER,
        Fault.KILL_API,
        Fault.PAUSE_WORKER,
        Fault.FLUSH_REDIS,
        Fault.KILL_REDIS,
        Fault.RESTART_POSTGRES,
        Fault.POSTGRES_AWAY,
    }
)  # what happens at a time of the plan, to everybody; the others happen to single jobs


def read(text: str) -> frozenset[Fault]:
    """`all`, `none`, a list (`kill-worker,4xx`), or all but some (`all,-postgres-away`). ValueError otherwise."""
    chosen: set[Fault] = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = word.removeprefix("-")
        named = set(Fault) if name == "all" else set() if name == "none" else {_named(name)}
        chosen = chosen - named if word.startswith("-") else chosen | named
    return frozenset(chosen)


def told(chosen: Iterable[Fault]) -> str:
    """The shortest text that `read` understands as these."""
    missing = [fault for fault in Fault if fault not in set(chosen)]
    if len(missing) == len(Fault):
        return "none"
    if len(missing) < len(Fault) / 2:
        return ",".join(["all", *(f"-{fault}" for fault in missing)])
    return ",".join(fault for fault in Fault if fault in set(chosen))


def _named(name: str) -> Fault:
    named = next((fault for fault in Fault if fault == name), None)
    if named is None:
        raise ValueError(f"{name!r} is no fault; there are: all, none, {', '.join(Fault)}")
    return named
