"""Every write to a job's state. One function is one move of the protocol, for many jobs at once.

A move is a guarded statement that names the state and the claim token it expects; what it returns is
what really happened. Lock order everywhere: jobs by id, then deliveries by hash, in separate statements
(PROTOCOL trace 2). Nothing here talks to Redis or to anyone else: jobs that should be pushed come back
as `Waiting`, and the caller rings the bell after the commit. Taking jobs back from the dead is rescues.py; deciding
dead letters is resolutions.py; letting jobs in is acceptance.py; what the clock moves is chores.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from jobs.claims import Claim
from jobs.columns import as_claim, as_json, both_keys, bury, delivery_keys, job_keys, tokens_from, write_history
from jobs.database import move, single_statement
from jobs.errors import TooLate
from jobs.postgres.arrays import Booleans, Texts, Uuids
from jobs.settlements import GONE, REFUSALS, Settlement
from jobs.sql import run
from jobs.states import DeliveryState, Lane, Outcome, Reason, Resolution, Status


class Standing(NamedTuple):
    """The gate's answer: tokens by what becomes of them. A token in none of them is not ours any more.

    `suppressed` are those with recipients on the suppression list: omissions.py decides.
    """

    admitted: set[int]
    duplicates: set[int]
    held: set[int]
    put_back: set[int]
    suppressed: set[int]


# ── One trip: claim, gate, mark, settle ───────────────────────────────────────────────────────


@single_statement
def claim(ids: Collection[UUID], *, worker: UUID) -> list[Claim]:
    """Take these jobs, as far as they are still queued. Expired ones end here."""
    rows = run("claim", ids=Uuids(ids), worker=worker)
    return [as_claim(row) for row in rows if row.status == Status.RUNNING]


@move
def claim_waiting(priorities: Sequence[str], *, limit: int, worker: UUID, lane: Lane = Lane.MESSAGES) -> list[Claim]:
    """Take the oldest waiting jobs without asking Redis (I2)."""
    ids: list[UUID] = []
    for priority in priorities:
        if len(ids) < limit:
            ids += [row.id for row in run("waiting_ids", lane=lane, priority=priority, limit=limit - len(ids))]
    return claim(ids, worker=worker) if ids else []


def pass_gate(claims: Sequence[Claim], *, said_sent: Collection[int] = (), wait_seconds: float) -> Standing:
    """L2: let in whoever gets the delivery row of its key, and settle whoever does not.

    `said_sent` are tokens whose key L1 calls sent; they ask L2 through the duplicate's own guard, and
    go to the gate like everybody if L1 lied.
    """
    claims = sorted(claims, key=lambda c: c.job_id)
    duplicates = _settle_duplicates([c for c in claims if c.token in said_sent])
    asking = [c for c in claims if c.token not in duplicates]
    admitted = _let_in(asking)
    outside = [c for c in asking if c.token not in admitted]
    if not outside:
        return Standing(admitted, duplicates, set(), set(), set())
    turned_away = _turn_away(outside, wait_seconds=wait_seconds)
    return turned_away._replace(admitted=admitted, duplicates=duplicates | turned_away.duplicates)


@single_statement
def _settle_duplicates(claims: Sequence[Claim]) -> set[int]:
    return tokens_from("duplicate", job_keys(claims))


@single_statement
def _let_in(claims: Sequence[Claim]) -> set[int]:
    return tokens_from("gate", job_keys(claims) | {"partly": False})


@move
def _turn_away(claims: Sequence[Claim], *, wait_seconds: float) -> Standing:
    """By what stands in the gate now: it may have changed since they were refused."""
    standing = {row.claim: row.state for row in run("gate_standing", **job_keys(claims))}
    duplicates = tokens_from("duplicate", job_keys(c for c in claims if standing.get(c.token) == DeliveryState.SENT))
    held = tokens_from("hold", job_keys(c for c in claims if standing.get(c.token) in CLOSED_TO_OTHERS))
    free = [c for c in claims if standing.get(c.token, DeliveryState.RELEASED) == DeliveryState.RELEASED]
    suppressed = tokens_from("suppressed_recipients", job_keys(free))
    rest = [c for c in claims if c.token in standing and c.token not in duplicates | held | suppressed]
    put_back = _put_back_jobs(rest, wait_seconds=wait_seconds)
    return Standing(set(), duplicates, held, put_back, suppressed)


CLOSED_TO_OTHERS = frozenset({DeliveryState.UNKNOWN, DeliveryState.DROPPED})


@move
def put_back(claims: Sequence[Claim], *, wait_seconds: float) -> set[int]:
    """Give jobs back without spending an attempt; nothing of theirs was marked. A marked one stays (K1)."""
    returned = _put_back_jobs(sorted(claims, key=lambda c: c.job_id), wait_seconds=wait_seconds)
    run("release_claimed", **delivery_keys(claims))
    return returned


@move
def acquit(claims: Sequence[Claim]) -> set[int]:
    """Suspects that were prepared without harm. Tokens that do not come back are not ours any more."""
    return tokens_from("acquit", job_keys(sorted(claims, key=lambda c: c.job_id)))


@move
def mark(marks: Sequence[tuple[Claim, str]]) -> set[int]:
    """Commit the dot mark for (claim, provider) pairs. Tokens that do not come back must not write the dot."""
    provider_of = {c.token: provider for c, provider in marks}
    keys = delivery_keys(c for c, _ in marks)
    return tokens_from("mark", keys | {"providers": Texts(provider_of[token] for token in keys["claims"])})


def _put_back_jobs(claims: Sequence[Claim], *, wait_seconds: float) -> set[int]:
    return tokens_from("put_back_jobs", job_keys(claims) | {"waits": [float(wait_seconds)] * len(claims)})


@move
def unmark(claims: Sequence[Claim], *, wait_seconds: float) -> set[int]:
    """The mark's answer was lost and no dot was written: free the rows whether or not the mark arrived."""
    lock_jobs(claims)
    freed = tokens_from("unmark_deliveries", both_keys(sorted(claims, key=lambda c: c.dedupe_hash)))
    ours = [c for c in claims if c.token in freed]
    if ours:
        run("unmark_jobs", **job_keys(ours), wait=wait_seconds)
        run("close_dead_letters", **job_keys(ours), resolutions=[Resolution.LATE_REPLY.value] * len(ours))
    never_gated = [c for c in claims if c.token not in freed]
    return freed | _put_back_jobs(never_gated, wait_seconds=wait_seconds)


@move
def take_mark_back(claims: Sequence[Claim]) -> set[int]:
    """After a clear 4xx to the dot and before another provider is tried: `dot` → `claimed` (trace 12)."""
    return tokens_from("take_mark_back", delivery_keys(claims))


def lock_jobs(claims: Sequence[Claim]) -> set[int]:
    """Lock these claims' jobs first, where several moves share one transaction; the tokens that still run them."""
    rows = run("lock_jobs", ids=Uuids(c.job_id for c in claims)) if claims else []
    return {row.claim for row in rows if row.status == Status.RUNNING}


@move
def settle(settlements: Sequence[Settlement]) -> dict[int, Status]:
    """Write how trips ended; the new status of each job that really moved, by token.

    A token that is missing was declared dead, decided or overtaken meanwhile: history keeps what the
    other side said, the state stays.
    """
    settlements = sorted(settlements, key=lambda s: s.claim.dedupe_hash)  # the lock order of deliveries
    still_running = lock_jobs([s.claim for s in settlements])
    moved = _settle_sent([s for s in settlements if s.outcome is Outcome.SENT], still_running)
    moved |= _settle_refused([s for s in settlements if s.outcome in REFUSALS])
    moved |= _settle_unanswered([s for s in settlements if s.outcome is Outcome.UNKNOWN])
    _disable_destinations([s for s in settlements if s.kind == GONE])
    write_history(settlements)
    return moved


def adoptable(settlements: Sequence[Settlement]) -> set[int]:
    """The tokens of those that this database has given out, to the workers that name them."""
    keys = job_keys(s.claim for s in settlements)
    return tokens_from("adoptable", keys | {"workers": [s.worker for s in settlements]})


def _settle_sent(settlements: Sequence[Settlement], still_running: Collection[int]) -> dict[int, Status]:
    """Only a claim that runs no more can have an open unknown to answer."""
    sent = tokens_from("sent_deliveries", delivery_keys(s.claim for s in settlements if s.marked))
    sent |= _settle_unmarked([s for s in settlements if not s.marked])
    ours = [s for s in settlements if s.claim.token in sent]
    if ours:
        run("sent_jobs", **job_keys(s.claim for s in ours), results=Texts(as_json(s.result) for s in ours))
        _close_dead_letters([s for s in ours if s.claim.token not in still_running])
    return dict.fromkeys(sent, Status.COMPLETED)


def _settle_unmarked(settlements: Sequence[Settlement]) -> set[int]:
    providers = Texts(s.provider for s in settlements)  # sorted by hash, as delivery_keys is
    return tokens_from(
        "sent_unmarked_deliveries", delivery_keys(s.claim for s in settlements) | {"providers": providers}
    )


def _settle_refused(settlements: Sequence[Settlement]) -> dict[int, Status]:
    if not settlements:
        return {}
    rows = run(
        "refused_deliveries",
        **both_keys(s.claim for s in settlements),
        finals=Booleans(s.is_final for s in settlements),
        marked=Booleans(s.marked for s in settlements),
    )
    state = {row.claim: row.state for row in rows}
    ours = [s for s in settlements if s.claim.token in state]
    statuses = [_after_refusal(s, state[s.claim.token]) for s in ours]
    if ours:
        run(
            "refused_jobs",
            **job_keys(s.claim for s in ours),
            statuses=[status.value for status in statuses],
            waits=[float(s.wait_seconds) for s in ours],
            errors=[as_json(s.error) for s in ours],
        )
        _tell_dead_letters(list(zip(ours, statuses, strict=True)))
    return dict(zip([s.claim.token for s in ours], statuses, strict=True))


def _tell_dead_letters(refused: Sequence[tuple[Settlement, Status]]) -> None:
    """A refusal answers the claim's open unknown, unless it is (still) in doubt: that one waits for a person."""
    _close_dead_letters([s for s, status in refused if status is not Status.UNKNOWN])
    bury([(s.claim.job_id, s.claim.token, s.reason) for s, status in refused if status is Status.FAILED])
    bury([(s.claim.job_id, s.claim.token, Reason.UNKNOWN) for s, status in refused if status is Status.UNKNOWN])


def _close_dead_letters(answered: Sequence[Settlement]) -> None:
    if not answered:
        return
    run(
        "close_dead_letters",
        **job_keys(s.claim for s in answered),
        resolutions=Texts(s.closes_as.value for s in answered),
    )


def _after_refusal(settlement: Settlement, delivery_state: str) -> Status:
    if delivery_state == DeliveryState.UNKNOWN:
        return Status.UNKNOWN
    return Status.FAILED if settlement.is_final else Status.SCHEDULED


def _disable_destinations(gone: Sequence[Settlement]) -> None:
    if gone:
        run(
            "disable_destinations",
            ids=Uuids(s.claim.job_id for s in gone),
            claimed_ats=[s.claim.claimed_at for s in gone],
            reasons=Texts(s.detail for s in gone),
        )


def _settle_unanswered(settlements: Sequence[Settlement]) -> dict[int, Status]:
    unanswered = tokens_from("unanswered_deliveries", delivery_keys(s.claim for s in settlements))
    ours = [s for s in settlements if s.claim.token in unanswered]
    if ours:
        run("unanswered_jobs", **job_keys([s.claim for s in ours]), errors=[as_json(s.error) for s in ours])
        bury([(s.claim.job_id, s.claim.token, Reason.UNKNOWN) for s in ours])
    return dict.fromkeys(unanswered, Status.UNKNOWN)


# ── The client's move ─────────────────────────────────────────────────────────────────────────


@move
def cancel(job_id: UUID, *, owner_id: int) -> None:
    """Cancelled, or TooLate: decided by the guarded row, never by hope."""
    if not run("cancel", id=job_id, owner_id=owner_id):
        raise TooLate("The job has been taken, has ended, or may already have gone out.")


# ── Workers ───────────────────────────────────────────────────────────────────────────────────


@move
def beat(worker: UUID, *, name: str, state: str, in_flight: int, completed: int) -> None:
    """A worker says that it lives."""
    run("beat", id=worker, name=name, state=state, in_flight=in_flight, completed=completed)


@move
def leave(worker: UUID) -> None:
    """A worker ends in order."""
    run("leave", id=worker)
