"""Faults in words: by probability ("rcpt=451 4.2.1 Later@0.1, dot=accept-then-drop@0.05") and by recipient."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .acts import ACCEPT_THEN_DROP, ACCEPT_THEN_STALL, THROW_AWAY_AND_DROP, Act, Answer, AtDot, AtDotRule, Delay
from .book import PHASES, Moment

Script = Callable[[Moment], AtDotRule]

REFUSED_RECIPIENTS: dict[str, Answer] = {  # by local part, whatever the domain; at RCPT
    "refuse": "550 5.1.1 no such mailbox (played)",
    "defer": "451 4.2.0 mailbox busy, try later (played)",
}
RECIPIENTS_AT_DOT: dict[str, AtDotRule] = {  # the first recipient of a message with such a name decides
    "spam": "554 5.7.1 looks like spam (played)",
    "busy": "451 4.3.0 busy, try later (played)",
    "silent": ACCEPT_THEN_DROP,
    "stall": ACCEPT_THEN_STALL,
    "vanish": THROW_AWAY_AND_DROP,
    "slow": Delay(3.0),
}

ACTS = {act.name.lower(): act for act in Act}
WHAT = (
    f'an answer such as "451 4.3.0 Later", {", ".join(ACTS)}, "delay SECONDS" or "delay SECONDS then …"; '
    'at the dot also "accept-then-…" and "throw-away-and-…"'
)


class FaultError(ValueError):
    """A fault that nobody can play; the message says which, and what would do."""


@dataclass(frozen=True)
class Fault:
    """At this phase, so often, this instead of the ordinary answer."""

    phase: str
    rule: AtDotRule
    probability: float


def by_recipient(moment: Moment) -> AtDotRule:
    """A script: recipients such as refuse@… and silent@… play the other side's faults."""
    names = [address.rpartition("@")[0].lower() for address in moment.recipients]
    if moment.phase == "rcpt":
        return REFUSED_RECIPIENTS.get(names[-1])
    if moment.phase == "dot":
        return next((RECIPIENTS_AT_DOT[name] for name in names if name in RECIPIENTS_AT_DOT), None)
    return None


def by_chance(faults: str | Iterable[Fault], *, seed: int = 0) -> Script:
    """A script: each time at its phase a fault is drawn for; the first that is drawn decides.

    Each fault has draws of its own, so the same seed and the same conversations give the same faults, and adding
    a fault at another phase changes nothing for those that stand before it.
    """
    known = read_faults(faults) if isinstance(faults, str) else list(faults)
    draws = [(fault, random.Random(f"{seed} {number}")) for number, fault in enumerate(known)]

    def script(moment: Moment) -> AtDotRule:
        for fault, dice in draws:
            if fault.phase == moment.phase and dice.random() < fault.probability:
                return fault.rule
        return None

    return script


def first_of(*scripts: Script) -> Script:
    """A script: the first of these that says something decides."""

    def script(moment: Moment) -> AtDotRule:
        return next((rule for asked in scripts if (rule := asked(moment)) is not None), None)

    return script


# ── Reading ───────────────────────────────────────────────────────────────────────────────────


def read_faults(text: str) -> list[Fault]:
    """`PHASE=WHAT@PROBABILITY, …`; without a probability always. An answer may hold commas and @."""
    parts = [part.strip() for part in re.split(r",(?=\s*\w+\s*=)", text)]
    return [_fault(part) for part in parts if part]


def _fault(text: str) -> Fault:
    phase, is_there, what = (part.strip() for part in text.partition("="))
    if not is_there:
        raise FaultError(f"{text!r} names no phase; write PHASE=WHAT@PROBABILITY, such as rcpt=451 4.2.1 Later@0.1.")
    if phase not in PHASES:
        raise FaultError(f"{phase!r} is no phase; use one of {', '.join(PHASES)}.")
    found = re.fullmatch(r"(.*)@\s*([\d.+-][^@\s]*)", what)
    what, chance = (found[1].strip(), _probability(found[2])) if found else (what, 1.0)
    rule = _rule(what)
    if isinstance(rule, AtDot) and phase != "dot":
        raise FaultError(f"{what!r} stands at the dot only; at {phase!r} nothing has been said that could be kept.")
    return Fault(phase, rule, chance)


def _probability(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise FaultError(f"@{text} is no probability; write a number from 0 to 1, such as @0.1.")
    return number


def _rule(what: str) -> AtDotRule:
    for opening, kept in (("accept-then-", True), ("throw-away-and-", False)):
        if what.startswith(opening):
            return AtDot(kept, _answer(what.removeprefix(opening)))
    return _answer(what)


def _answer(what: str) -> Answer:
    if what in ACTS:
        return ACTS[what]
    if found := re.fullmatch(r"delay (\d+(?:\.\d+)?|\.\d+)(?: then (.+))?", what):
        then = _answer(found[2]) if found[2] else None
        if isinstance(then, Delay):
            raise FaultError(f"{what!r} waits twice; add the seconds up.")
        return Delay(float(found[1]), then)
    if re.fullmatch(r"[2-5]\d\d(?:[ -].*)?", what):
        return what
    raise FaultError(f"{what!r} cannot be played; use {WHAT}.")
