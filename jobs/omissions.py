"""Jobs that the gate did not let in because recipients of theirs are on the suppression list.

Whoever is suppressed is left out, and the others get their mail. With nobody left the job ends: failed, as a dead
letter of a reason of its own, which can be requeued when the suppression was lifted. But not a job in doubt, whose
earlier dot may have been accepted: that goes back to unknown, as after every final refusal (PROTOCOL trace 9).

Writes to state, like transitions.py and under the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from jobs import transitions
from jobs.claims import Claim
from jobs.columns import as_json, bury, job_keys, tokens_from, write_history
from jobs.database import move
from jobs.settlements import Settlement, clean
from jobs.sql import run
from jobs.states import Outcome, Status, SuppressionReason

KIND = "suppressed"
NAMED = 5  # addresses, in the words about a job that nobody is left to get


class Omitted(NamedTuple):
    """One recipient that gets nothing."""

    address: str
    reason: SuppressionReason
    topic: str  # "": nothing at all

    def __str__(self) -> str:
        return f"{self.address} ({self.reason}{f', topic {self.topic}' if self.topic else ''})"


class Omissions(NamedTuple):
    """What became of the jobs. One that is in none of them is not ours any more."""

    admitted: list[Claim]  # with the names of those who are left out
    ended: list[tuple[Settlement, Status]]  # nobody was left
    put_back: set[int]  # another job of the key was first, or nobody is on the list any more
    omitted: list[Omitted]  # of those that were admitted or ended


class _Case(NamedTuple):
    """One of the jobs, and who of its recipients is on the list."""

    claim: Claim
    worker: UUID
    is_in_doubt: bool
    has_others: bool
    omitted: list[Omitted]

    @property
    def ending(self) -> Settlement:
        """Nobody is left."""
        named = ", ".join(map(str, self.omitted[:NAMED]))
        more = f" and {len(self.omitted) - NAMED} more" if self.omitted[NAMED:] else ""
        detail = clean(f"Nobody is left to send to. On the suppression list: {named}{more}.")
        return Settlement(self.claim, Outcome.SUPPRESSED, self.worker, marked=False, kind=KIND, detail=detail)


@move
def leave_out(claims: Sequence[Claim], *, wait_seconds: float) -> Omissions:
    """Let these claims in without their suppressed recipients, and end those that have no others.

    They are what pass_gate called suppressed: running, and not yet through the gate.
    """
    transitions.lock_jobs(claims)
    cases = _cases(claims)
    ended = _end([case for case in cases if not case.has_others and not case.is_in_doubt])
    entering = [case for case in cases if case.has_others or case.is_in_doubt]
    entered = tokens_from("gate", job_keys(case.claim for case in entering) | {"partly": True})
    inside = [case for case in entering if case.claim.token in entered]
    ended += _end_in_doubt([case for case in inside if not case.has_others])
    admitted = [
        replace(case.claim, suppressed=tuple(one.address for one in case.omitted)) for case in inside if case.has_others
    ]

    done = {claim.token for claim in admitted} | {settlement.claim.token for settlement, _ in ended}
    put_back = transitions.put_back([c for c in claims if c.token not in done], wait_seconds=wait_seconds)
    return Omissions(
        admitted, ended, put_back, [one for case in cases if case.claim.token in done for one in case.omitted]
    )


def _cases(claims: Sequence[Claim]) -> list[_Case]:
    """By the jobs' ids, in whose order they are locked. Without those that have nobody on the list any more."""
    by_token = {claim.token: claim for claim in claims}
    rows: dict[int, list[Any]] = {}
    for row in run("suppressed_recipients", **job_keys(claims)):
        rows.setdefault(row.claim, []).append(row)
    return [
        _Case(
            claim=by_token[token],
            worker=found[0].worker,
            is_in_doubt=found[0].in_doubt,
            has_others=len(found) < found[0].recipients,
            omitted=[Omitted(row.address, SuppressionReason(row.reason), row.topic) for row in found],
        )
        for token, found in rows.items()
    ]


def _end(cases: Sequence[_Case]) -> list[tuple[Settlement, Status]]:
    """They have not been to the gate: no delivery is theirs, and that of their key stays as it is."""
    endings = {case.claim.token: case.ending for case in cases}
    errors = [as_json(ending.error) for ending in endings.values()]
    failed = tokens_from("suppress_jobs", job_keys(case.claim for case in cases) | {"errors": errors})
    ended = [endings[token] for token in endings if token in failed]
    bury([(ending.claim.job_id, ending.claim.token, ending.reason) for ending in ended])
    write_history(ended)
    return [(ending, Status.FAILED) for ending in ended]


def _end_in_doubt(cases: Sequence[_Case]) -> list[tuple[Settlement, Status]]:
    """They have taken the delivery of their key, which goes to unknown with them (K2)."""
    endings = [case.ending for case in cases]
    statuses = transitions.settle(endings) if endings else {}
    return [(ending, statuses[ending.claim.token]) for ending in endings if ending.claim.token in statuses]
