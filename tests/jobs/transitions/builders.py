"""Jobs in the state that a test needs, reached by the moves themselves; and everything that is known about one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from uuid_utils.compat import uuid7

from jobs import acceptance, rescues, resolutions, transitions
from jobs.claims import Claim
from jobs.models import Attempt, DeadLetter, Delivery, Job
from jobs.settlements import Settlement
from jobs.states import Decision, OnUnknown, Outcome

WORKER = UUID("00000000-0000-4000-8000-00000000000a")
OTHER_WORKER = UUID("00000000-0000-4000-8000-00000000000b")
LEASE = {"lease_seconds": 30.0, "poison_deaths": 3, "limit": 100}


# ── Jobs on their way ─────────────────────────────────────────────────────────────────────────


def an_owner(name: str = "ann") -> User:
    return User.objects.get_or_create(username=name)[0]


def a_job(*, key: str | None = None, **columns: Any) -> UUID:
    """An accepted job, waiting unless `run_at` or `delay_seconds` say otherwise. Same `key`: same delivery row."""
    job_id = uuid7()
    defaults: dict[str, Any] = {
        "id": job_id,
        "type": "email",
        "lane": "messages",
        "priority": "default",
        "payload": {"to": ["ann@example.org"], "subject": "Hello"},
        "recipients": ["ann@example.org"],
        "correlation_id": "c-1",
        "idempotency_key": None,
        "fingerprint": bytes(16).hex(),
        "dedupe_key": key,
        "dedupe_hash": hash_of(key or str(job_id)).hex(),
        "max_attempts": 5,
        "run_at": None,
        "delay_seconds": None,
        "expires_at": None,
        "on_unknown": OnUnknown.HOLD.value,
        "provider": None,
    }
    columns = {"owner_id": columns.pop("owner_id", None) or an_owner().pk, **columns}
    columns = {name: value.hex() if isinstance(value, bytes) else value for name, value in columns.items()}
    assert acceptance.accept([defaults | columns])
    return job_id


def hash_of(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def claimed(job_id: UUID | None = None, *, worker: UUID = WORKER, **columns: Any) -> Claim:
    (claim,) = transitions.claim([job_id or a_job(**columns)], worker=worker)
    return claim


def gated(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = claim or claimed(**columns)
    assert gate(claim).admitted == {claim.token}
    return claim


def marked(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = gated(claim, **columns)
    assert mark(claim)
    return claim


def unknown(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = marked(claim, **columns)
    assert settle(claim, Outcome.UNKNOWN) == "unknown"
    return claim


def sent(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = marked(claim, **columns)
    assert settle(claim, Outcome.SENT) == "completed"
    return claim


def failed(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = marked(claim, **columns)
    assert settle(claim, Outcome.PERMANENT) == "failed"
    return claim


def held(*, behind: Claim, **columns: Any) -> Claim:
    key = Job.objects.get(pk=behind.job_id).dedupe_key
    claim = claimed(key=key, **columns)
    assert gate(claim).held == {claim.token}
    return claim


def dropped(claim: Claim | None = None, **columns: Any) -> Claim:
    claim = unknown(claim, **columns)
    decide(claim, Decision.DROP)
    return claim


def sent_again(claim: Claim | None = None, **columns: Any) -> Claim:
    """An unknown of which somebody decided: send it again. Queued, in doubt; the old claim is returned."""
    claim = unknown(claim, **columns)
    decide(claim, Decision.SEND_AGAIN)
    return claim


# ── Moves, one job at a time ──────────────────────────────────────────────────────────────────


def gate(*claims: Claim, said_sent: tuple[int, ...] = ()) -> transitions.Standing:
    return transitions.pass_gate(claims, said_sent=said_sent, wait_seconds=1.0)


def mark(claim: Claim, provider: str = "main") -> bool:
    return transitions.mark([(claim, provider)]) == {claim.token}


def settlement(claim: Claim, outcome: Outcome, **facts: Any) -> Settlement:
    return Settlement(
        claim=claim, outcome=outcome, **{"worker": WORKER, "provider": "main", "detail": "said so"} | facts
    )


def settle(claim: Claim, outcome: Outcome, **facts: Any) -> str | None:
    """The job's new status, or None when nothing moved."""
    status = transitions.settle([settlement(claim, outcome, **facts)]).get(claim.token)
    return status.value if status else None


def letter(claim: Claim, reason: str = "unknown") -> int:
    return DeadLetter.objects.get(job_id=claim.job_id, claim=claim.token, reason=reason).pk


def decide(claim: Claim, decision: Decision, **how: Any) -> None:
    resolutions.resolve(letter(claim), decision, **{"by": an_owner().pk} | how)


def rescue(*workers: UUID) -> rescues.Rescue:
    return rescues.rescue(workers or (WORKER,), **LEASE)  # type: ignore[arg-type]


def beat(worker: UUID = WORKER) -> None:
    transitions.beat(worker, name="host:1", state="busy", in_flight=1, completed=0)


# ── What is known afterwards ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Facts:
    """Everything the tables say about one job."""

    job: Job
    delivery: Delivery | None
    letters: list[tuple[str, str | None]]  # reason, resolution
    history: list[str]

    @property
    def where(self) -> tuple[str, str | None]:
        """(status of the job, state of its key's delivery)."""
        return self.job.status, self.delivery.state if self.delivery else None


def facts(of: Claim | UUID) -> Facts:
    job = Job.objects.get(pk=of.job_id if isinstance(of, Claim) else of)
    letters = DeadLetter.objects.filter(job=job).order_by("id").values_list("reason", "resolution")
    return Facts(
        job=job,
        delivery=Delivery.objects.filter(dedupe_hash=bytes(job.dedupe_hash)).first(),
        letters=list(letters),
        history=list(Attempt.objects.filter(job_id=job.pk).order_by("id").values_list("outcome", flat=True)),
    )


def where(of: Claim | UUID) -> tuple[str, str | None]:
    return facts(of).where


# ── Hands in the tables ───────────────────────────────────────────────────────────────────────


def sql(statement: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def set_job(of: Claim | UUID, **columns: Any) -> None:
    """What only the time can do otherwise: a due date in the past, an old push."""
    Job.objects.filter(pk=of.job_id if isinstance(of, Claim) else of).update(**columns)


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


@contextmanager
def nothing_moves(*of: Claim | UUID) -> Iterator[None]:
    """What is done inside leaves these jobs, their deliveries and their dead letters exactly as they were."""

    def picture() -> list[Any]:
        return [(f.job.__dict__ | {"_state": None}, f.where, f.letters) for f in map(facts, of)]

    before = picture()
    yield
    assert picture() == before


def a_stranger() -> UUID:
    return uuid4()
