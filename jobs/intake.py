"""The front door's road: a validated request becomes a committed row, then the bell rings (§4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from uuid_utils.compat import uuid7

from jobs import acceptance, destinations, queue, tracing, writing
from jobs.acceptance import FirstAnswer
from jobs.backpressure import RETRY_SECONDS, Backpressure
from jobs.claims import OwnKey, Waiting
from jobs.database import is_away, sqlstate
from jobs.errors import KeyInFlight, KeyReused, QueueFull, Refused, Unavailable
from jobs.front_desk import Deserted, FrontDesk
from jobs.requests import JobRequest
from jobs.states import Status

log = structlog.get_logger(__name__)

LOCK_NOT_AVAILABLE = "55P03"
PATIENCE_SECONDS = 2.0  # for another transaction that is inserting the same key
PATIENCE_TOGETHER_SECONDS = 0.05  # likewise, while strangers wait for the same commit
MOST_TOGETHER = 100  # requests in one commit
LARGE_BYTES = 64 * 1024  # a job of this size would hold the others up, and gains nothing


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a request that has its job; `is_replay` when the key had it before."""

    job_id: UUID
    status: Status  # as it was when the job was accepted
    is_replay: bool


Answer = Accepted | Refused
Bell = Callable[..., object]  # as queue.announce


class _Wish(NamedTuple):
    """A request with all that its row needs."""

    request: JobRequest
    owner_id: int
    job_id: UUID
    row: msgspec.Raw  # the job as insert_jobs.sql reads it
    key: OwnKey | None

    @property
    def names(self) -> dict[str, Any]:
        """As a log line names it."""
        return {"job_id": str(self.job_id), "type": self.request.type.name, "owner_id": self.owner_id}


@tracing.sends
def accept(request: JobRequest, *, owner_id: int, correlation_id: str) -> Accepted:
    """Accept one job: a committed row first (I1), then its id in Redis, then the key in Redis.

    Raises KeyReused when the owner's key had another body, KeyInFlight when the first request with it
    has not come to an end within PATIENCE_SECONDS, and InvalidRequest when its template can make no mail of it.
    """
    if request.type.written_as:
        (written,) = _written([request], owner_id=owner_id)
        if isinstance(written, Refused):
            raise written
        if isinstance(written, Accepted):
            return written
        request = written
    wish = _wish(request, owner_id=owner_id, correlation_id=correlation_id)
    answer = _ask_desk(wish) if _is_fit_for_company(wish) else _recalled({0: wish}).get(0)
    if answer is None:
        (answer,) = _accept_each([wish])
    if isinstance(answer, Refused):
        raise answer
    _log(wish, answer)
    return answer


@tracing.sends
def accept_many(
    requests: Sequence[JobRequest],
    *,
    owner_id: int,
    correlation_id: str,
    batch_id: UUID | None = None,
    bell: Bell | None = None,
) -> list[Answer]:
    """Accept many, each on its own, in one commit; their answers in the order given.

    What `accept` raises about one of them stands in its place here, and the others are accepted all the same.
    Inside a transaction, whose commit is yet to come, `bell` is rung instead of the queue's.
    """
    written = _written(requests, owner_id=owner_id)
    wishes = [
        _wish(request, owner_id=owner_id, correlation_id=correlation_id)
        for request in written
        if isinstance(request, JobRequest)
    ]
    answers = _accept_each(wishes, batch_id=batch_id, bell=bell)
    for wish, answer in zip(wishes, answers, strict=True):
        _log(wish, answer)
    accepted = iter(answers)
    return [next(accepted) if isinstance(request, JobRequest) else request for request in written]


def _wish(request: JobRequest, *, owner_id: int, correlation_id: str) -> _Wish:
    job_id, options = uuid7(), request.options
    row = {
        "id": job_id,
        "owner_id": owner_id,
        "type": request.type.name,
        "lane": request.type.lane,
        "priority": request.priority,
        "payload": request.payload,
        "recipients": request.recipients,
        "correlation_id": correlation_id,
        "idempotency_key": options.idempotency_key,
        "fingerprint": request.fingerprint.hex(),
        "dedupe_key": request.dedupe_key,
        "dedupe_hash": dedupe_hash(owner_id, request.dedupe_key, job_id=job_id).hex(),
        "max_attempts": request.max_attempts,
        "run_at": options.run_at,
        "delay_seconds": options.delay_seconds,
        "expires_at": options.expires_at,
        "on_unknown": request.on_unknown,
        "provider": options.provider,
        "traceparent": tracing.traceparent(),
    }
    key = OwnKey(owner_id, options.idempotency_key) if options.idempotency_key else None
    return _Wish(request, owner_id, job_id, msgspec.Raw(msgspec.json.encode(row)), key)


def _log(wish: _Wish, answer: Answer) -> None:
    if isinstance(answer, Accepted) and not answer.is_replay:
        log.info("job_accepted", about=wish, status=answer.status.value)


# ── By a template ─────────────────────────────────────────────────────────────────────────────


def _written(requests: Sequence[JobRequest], *, owner_id: int) -> list[JobRequest | Answer]:
    """Those that name a template with the mail that it makes of them, and the others as they are. Who repeats a request
    gets its first answer, whatever has become of the template since."""
    answers: list[JobRequest | Answer] = list(requests)
    naming = {number: request for number, request in enumerate(requests) if request.type.written_as}
    keys = {
        number: OwnKey(owner_id, request.options.idempotency_key)
        for number, request in naming.items()
        if request.options.idempotency_key
    }
    first = acceptance.first_answers(list(dict.fromkeys(keys.values()))) if keys else {}
    for number, key in keys.items():
        if key in first:
            answers[number] = _as_replay(naming.pop(number), first[key])
    if naming:
        for number, written in zip(naming, writing.write(list(naming.values()), owner_id=owner_id), strict=True):
            answers[number] = written
    return answers


# ── At the desk ───────────────────────────────────────────────────────────────────────────────


def _is_fit_for_company(wish: _Wish) -> bool:
    if connection.in_atomic_block:  # there its commit would be none
        return False
    return len(wish.row) < LARGE_BYTES and not wish.request.type.destination  # which is looked for first


def _ask_desk(wish: _Wish) -> Answer | None:
    try:
        return _desk.ask(wish)
    except Deserted:
        raise Unavailable("Nothing can be promised. Ask again, with the same Idempotency-Key.", retry_after=1) from None


def _accept_together(wishes: Sequence[_Wish]) -> list[Answer | None]:
    """Strangers' requests, in one commit. None: this one is to be accepted alone, for nothing of it has happened.

    What PostgreSQL refuses it refuses as a whole: each finds out for himself whose fault it was, and nobody waits here
    for a key that somebody else is using. When the connection breaks, nobody can know whether the commit arrived; that
    is what all are told, and nothing is tried again.
    """
    numbered = dict(enumerate(wishes))
    answers = _recalled(numbered)
    if pending := _without(numbered, answers):
        try:
            answers |= _insert(pending, patience_seconds=PATIENCE_TOGETHER_SECONDS)
        except DatabaseError as error:
            if is_away(error):
                raise
            log.info("group_split", requests=len(pending), sqlstate=sqlstate(error))
        else:
            with suppress(DatabaseError, InterfaceError):  # the others have their rows, whatever comes of this look
                answers |= _replays(_without(pending, answers))
    return [answers.get(number) for number in range(len(wishes))]


_backpressure = Backpressure()
_desk: FrontDesk[_Wish, Answer | None] = FrontDesk(_accept_together, most=MOST_TOGETHER)


# ── Many in one commit ────────────────────────────────────────────────────────────────────────


def _accept_each(wishes: Sequence[_Wish], *, batch_id: UUID | None = None, bell: Bell | None = None) -> list[Answer]:
    """Insert, and look where a key is taken, until all have their answers."""
    numbered = dict(enumerate(wishes))
    answers = _misaddressed(numbered)
    pending = _without(numbered, answers)
    while pending:
        try:
            answers |= _insert(pending, bell, batch_id=batch_id, patience_seconds=PATIENCE_SECONDS)
        except OperationalError as error:
            keyed: dict[int, Answer] = {n: KeyInFlight(retry_after=1) for n, wish in pending.items() if wish.key}
            if sqlstate(error) != LOCK_NOT_AVAILABLE or not keyed:
                raise
            answers |= keyed
        # Their keys are taken. Should a window close between these two looks, the next insert succeeds.
        answers |= _replays(_without(pending, answers))
        pending = _without(pending, answers)
    return [answers[number] for number in range(len(wishes))]


def _misaddressed(wishes: Mapping[int, _Wish]) -> dict[int, Answer]:
    """Those that name a destination which is not there, or the first answers of what was accepted while it was."""
    naming = {n: wish for n, wish in wishes.items() if wish.request.type.destination}
    if not naming:
        return {}
    known = _replays(naming)
    owner_id = next(iter(naming.values())).owner_id
    return known | destinations.refusals({n: wish.request for n, wish in _without(naming, known).items()}, owner_id)


def _insert(pending: Mapping[int, _Wish], bell: Bell | None = None, **how: Any) -> dict[int, Answer]:
    """Those that are new, as committed; then the bell. When too many wait already, only replays are answered."""
    if _backpressure.is_full():
        known = _replays(pending)
        return known | {n: QueueFull(retry_after=RETRY_SECONDS) for n in _without(pending, known)}
    statuses = acceptance.accept([wish.row for wish in pending.values()], **how)
    new = {number: wish for number, wish in pending.items() if wish.job_id in statuses}
    (bell or queue.announce)(
        [
            Waiting(wish.job_id, wish.request.priority, wish.request.type.lane)
            for wish in new.values()
            if statuses[wish.job_id] is Status.QUEUED
        ],
        keys={wish.key: wish.job_id for wish in new.values() if wish.key},
    )
    if bell is None:  # else the transaction is somebody else's
        with suppress(DatabaseError, InterfaceError):  # these have their rows, whatever comes of this look
            _backpressure.look()
    return {n: Accepted(wish.job_id, statuses[wish.job_id], is_replay=False) for n, wish in new.items()}


def _without(pending: Mapping[int, _Wish], answers: Mapping[int, Answer]) -> dict[int, _Wish]:
    return {number: wish for number, wish in pending.items() if number not in answers}


# ── The first answer again ────────────────────────────────────────────────────────────────────


def _recalled(wishes: Mapping[int, _Wish]) -> dict[int, Answer]:
    """Where Redis knows that the key has led to a job, its row is read; that spares the insert. Redis may lie: the row
    decides (PROTOCOL trace 19)."""
    known = queue.recall_keys([wish.key for wish in wishes.values() if wish.key])
    return _replays({number: wish for number, wish in wishes.items() if wish.key in known})


def _replays(taken: Mapping[int, _Wish]) -> dict[int, Answer]:
    """The first answers of those whose keys have their jobs."""
    keys = list(dict.fromkeys(wish.key for wish in taken.values() if wish.key))
    first = acceptance.first_answers(keys) if keys else {}
    return {n: _as_replay(wish.request, first[wish.key]) for n, wish in taken.items() if wish.key in first}


def _as_replay(request: JobRequest, first: FirstAnswer) -> Answer:
    if first.fingerprint != request.fingerprint:
        return KeyReused(f"This idempotency key led to job {first.job_id} with another body; use a new key.")
    return Accepted(first.job_id, first.status, is_replay=True)


def dedupe_hash(owner_id: int, key: str | None, *, job_id: UUID) -> bytes:
    """16 bytes that stand for one owner's dedupe key. Without a key a job competes with nobody, and its own id stands
    for it: it lies beside the youngest in the gate's index (UUIDv7), however large that has become, while a hash would
    lie on a page of its own."""
    return hashlib.blake2b(f"{owner_id}\0{key}".encode(), digest_size=16).digest() if key else job_id.bytes
