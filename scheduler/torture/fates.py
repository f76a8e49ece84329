"""What the SMTP server has in store for each job: trouble for its first attempts, and then an answer."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from random import Random

from scheduler.torture.faults import Fault

BEFORE_THE_BODY = ("mail", "rcpt", "data")
SLOWEST_SECONDS = 3.0
PERMANENT_SHARE = 0.02
AMBIGUOUS_SHARE = 0.02
TROUBLED_SHARE = 0.3
SLOW_SHARE = 0.3
TROUBLED_CONNECTIONS_SHARE = 0.04

# What is done: an answer stands as its text.
DROP, RESET, STALL, SLOW = "drop", "reset", "stall", "slow"
INVITE_AND_DROP = "354 and drop"  # it asks for the body and is gone
KEEP_AND_DROP, KEEP_AND_STALL, THROW_AND_DROP = "keep and drop", "keep and stall", "throw away and drop"
BUSY = ("451 4.3.0 Try again later", "452 4.3.1 Full", "421 4.3.2 Going down")
NEVER = ("550 5.1.1 No such user", "554 5.7.1 Not wanted")


@dataclass(frozen=True)
class Trouble:
    """What happens to one attempt, at one phase of the conversation. `seconds` pass before an answer, or SLOW."""

    phase: str
    does: str
    seconds: float = 0.0


Fate = tuple[Trouble, ...]  # one for each attempt; all later ones are accepted


def plan_fate(chance: Random, faults: Set[Fault]) -> Fate:
    """One job's. Every branch draws, whether its fault is on or not, so that the others stay as they are."""
    dice = chance.random()
    some = tuple(_passing(chance) for _ in range(chance.randint(1, 3)))
    ambiguous, permanent, slow = _ambiguous(chance), _permanent(chance), _slow(chance)
    if dice < PERMANENT_SHARE:
        fate: Fate = (*some[:-1], permanent)
    elif dice < PERMANENT_SHARE + AMBIGUOUS_SHARE:
        fate = (*some[:-1], ambiguous)
    elif dice < PERMANENT_SHARE + AMBIGUOUS_SHARE + TROUBLED_SHARE:
        fate = (*some, slow)
    else:
        fate = (slow,) if chance.random() < SLOW_SHARE else ()
    return tuple(trouble for trouble in fate if fault_of(trouble) in faults)


def plan_connection(seed: int, number: int, faults: Set[Fault]) -> Trouble | None:
    """What the server does to a connection before it knows whom the mail is for."""
    chance = Random(f"{seed}/connection {number}")
    if chance.random() >= TROUBLED_CONNECTIONS_SHARE:
        return None
    phase = chance.choice(["banner", "ehlo"])
    does = chance.choice([DROP, RESET, STALL, chance.choice(BUSY), "554 5.3.2 No service here"])
    trouble = Trouble(phase, does)
    return trouble if fault_of(trouble) in faults else None


def fault_of(trouble: Trouble) -> Fault:
    """By which switch it is turned off."""
    match trouble:
        case Trouble(does="slow"):
            return Fault.SLOW
        case Trouble(does="keep and drop"):
            return Fault.DROP_AFTER_DOT
        case Trouble(does="throw away and drop"):
            return Fault.THROW_AWAY
        case Trouble(does="stall" | "keep and stall"):
            return Fault.STALL
        case Trouble(phase="body", does="drop" | "reset") | Trouble(does="354 and drop"):
            return Fault.DROP_BEFORE_DOT
        case Trouble(does="drop" | "reset"):
            return Fault.HANG_UP
        case Trouble(phase="banner" | "ehlo"):
            return Fault.TRANSIENT  # whatever the digit: a server that will not talk may talk later
        case Trouble(does=words) if words.startswith("5"):
            return Fault.PERMANENT
    return Fault.TRANSIENT


def _passing(chance: Random) -> Trouble:
    """Trouble that leaves no doubt: the mail was not taken, and the next attempt may."""
    kind = chance.choice(["answer", "answer", "answer", "hang up", "hang up", "before the dot", "stall"])
    phase = chance.choice(BEFORE_THE_BODY)
    words, delay = chance.choice(BUSY), round(chance.uniform(0.0, 1.0), 2)
    if kind == "stall":
        return Trouble(phase, STALL)
    if kind == "hang up":
        return Trouble(phase, chance.choice([DROP, RESET]))
    if kind == "before the dot":
        # Rarely in the middle of the body: there it may meet a dot that is on its way already, and nobody can know.
        in_the_middle = chance.random() < 0.2
        return Trouble("body", chance.choice([DROP, RESET])) if in_the_middle else Trouble("data", INVITE_AND_DROP)
    return Trouble(chance.choice([phase, "dot"]), words, delay)


def _ambiguous(chance: Random) -> Trouble:
    """Trouble after which nobody can know. A server that stalls in the body looks to the other side like one that got
    the dot and stalls: the body fits into the kernel's buffers."""
    return chance.choice(
        [
            Trouble("dot", KEEP_AND_DROP),
            Trouble("dot", THROW_AND_DROP),
            Trouble("dot", KEEP_AND_STALL),
            Trouble("body", STALL),
        ]
    )


def _permanent(chance: Random) -> Trouble:
    return Trouble(chance.choice(["rcpt", "data", "dot"]), chance.choice(NEVER), round(chance.uniform(0.0, 1.0), 2))


def _slow(chance: Random) -> Trouble:
    phase = chance.choice(["data", "dot", "dot"])
    return Trouble(phase, SLOW, round(chance.uniform(0.1, SLOWEST_SECONDS), 2))
