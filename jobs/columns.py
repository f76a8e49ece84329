"""How batches of claims become the parameters of named statements: one array per column, one row per claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from jobs.claims import Claim
from jobs.postgres.arrays import Bigints, Floats, Hashes, Integers, Texts, Uuids
from jobs.settlements import Settlement
from jobs.sql import run
from jobs.states import Reason


def as_claim(row: Any) -> Claim:
    """A row of the claim statement, as what a worker holds."""
    return Claim(
        job_id=row.id,
        token=row.claim,
        dedupe_hash=bytes(row.dedupe_hash),
        type=row.type,
        payload=msgspec.json.decode(row.payload),
        attempt=row.attempts,
        max_attempts=row.max_attempts,
        priority=row.priority,
        provider=row.provider,
        correlation_id=row.correlation_id,
        claimed_at=row.claimed_at,
        deaths=row.deaths,
        owner_id=row.owner_id,
    )


def as_json(value: Any) -> str | None:
    """JSON text for a jsonb parameter."""
    return None if value is None else msgspec.json.encode(value).decode()


def job_keys(claims: Iterable[Claim]) -> dict[str, list[Any]]:
    """What names these claims' jobs."""
    claims = list(claims)
    return {"ids": Uuids(c.job_id for c in claims), "claims": Bigints(c.token for c in claims)}


def delivery_keys(claims: Iterable[Claim]) -> dict[str, list[Any]]:
    """What names these claims' deliveries, in the order in which they are to be locked."""
    claims = sorted(claims, key=lambda c: c.dedupe_hash)
    return {"hashes": Hashes(c.dedupe_hash for c in claims), "claims": Bigints(c.token for c in claims)}


def both_keys(claims: Iterable[Claim]) -> dict[str, list[Any]]:
    """What names these claims' jobs and deliveries, in the order given."""
    claims = list(claims)
    return job_keys(claims) | {"hashes": Hashes(c.dedupe_hash for c in claims)}


def tokens_from(statement: str, keys: Mapping[str, Any]) -> set[int]:
    """The tokens that a guarded statement moved; asks nobody when there is nothing to ask."""
    return {row.claim for row in run(statement, **keys)} if keys["claims"] else set()


def bury(dead: Sequence[tuple[UUID, int, Reason]]) -> None:
    """Open a dead letter for each (job, token, reason)."""
    if dead:
        ids, tokens, reasons = zip(*dead, strict=True)
        run("insert_dead_letters", ids=list(ids), claims=list(tokens), reasons=[r.value for r in reasons])


def write_history(settlements: Sequence[Settlement]) -> None:
    """Append what happened, whatever became of the state."""
    run(
        "insert_attempts",
        **job_keys(s.claim for s in settlements),
        numbers=Integers(s.claim.attempt for s in settlements),
        workers=Uuids(s.worker for s in settlements),
        providers=Texts(s.provider for s in settlements),
        outcomes=Texts(s.outcome.value for s in settlements),
        kinds=Texts(s.kind for s in settlements),
        codes=Integers(s.code for s in settlements),
        details=Texts(s.detail for s in settlements),
        tooks=Floats(s.took_seconds for s in settlements),
    )
