"""Redis: the doorbell and the cache (I2). All its keys stand here, but those of throttles.py.

Redis may be slow, empty, wrong, rolled back or gone at any moment. That costs time, never a job and never a
duplicate: ids and short marks live here, everything that matters lives in PostgreSQL.

    {sendonce}:queue:{priority}          list of 16-byte job ids, pushed left, taken right: first in, first out;
                                         the braces are the key's own: one slot of a cluster for all the lists
    {sendonce}:tasks:{priority}          likewise, of the lane `tasks`
    sendonce:gate:{hash}                 `sent`, or the claim token that asked first
    sendonce:idem:{owner}:{digest}       the job id that an idempotency key led to
    sendonce:probe                       nothing; health checks see whether it can be written
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import methodcaller
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from redis import Redis, RedisCluster

from jobs import redis_session
from jobs.claims import Claim, OwnKey, Waiting
from jobs.conf import tunables
from jobs.redis_session import ask_all, asking
from jobs.states import Lane, Priority

log = structlog.get_logger(__name__)

Away = redis_session.Away  # what every call here may raise, except those that say they do not

SENT = b"sent"
PROBE = "sendonce:probe"


def _list(lane: str, priority: str) -> str:
    return f"{{sendonce}}:{'tasks' if lane == Lane.TASKS else 'queue'}:{priority}"


def _gate(dedupe_hash: bytes) -> str:
    return f"sendonce:gate:{dedupe_hash.hex()}"


def _idem(key: OwnKey) -> str:
    return f"sendonce:idem:{key.owner_id}:{hashlib.blake2b(key.text.encode(), digest_size=16).hexdigest()}"


def ping() -> None:
    """Raises Away when Redis takes nothing: gone, hanging, or out of memory or read-only, as pushes would find it."""
    with asking() as client:
        client.set(PROBE, b"", px=1000)


# ── The doorbell ──────────────────────────────────────────────────────────────────────────────


def push(waiting: Iterable[Waiting]) -> bool:
    """Ring for these jobs. Never raises: what is lost here, the reconciler finds (§4.7)."""
    return _told(_pushes(waiting))


def announce(waiting: Iterable[Waiting], *, keys: Mapping[OwnKey, UUID]) -> bool:
    """After the commit of new jobs: ring for these, and remember which idempotency key led to which. Never raises."""
    ttl = tunables().idempotency_hours * 3600
    return _told(
        [
            *_pushes(waiting),
            *(methodcaller("set", _idem(key), job_id.bytes, ex=ttl) for key, job_id in keys.items()),
        ]
    )


def announce_after_commit(waiting: Sequence[Waiting], *, keys: Mapping[OwnKey, UUID]) -> None:
    """The same, for jobs that are accepted within somebody's transaction: when that is committed."""
    transaction.on_commit(partial(announce, waiting, keys=keys))


def _pushes(waiting: Iterable[Waiting]) -> list[methodcaller]:
    by_list: dict[str, list[bytes]] = defaultdict(list)
    for job_id, priority, lane in waiting:
        by_list[_list(lane, priority)].append(job_id.bytes)
    return [methodcaller("lpush", name, *ids) for name, ids in by_list.items()]


def _told(commands: Sequence[methodcaller]) -> bool:
    if not commands:
        return True
    try:
        with asking() as client:
            ask_all(client, commands)
    except Away as error:
        log.warning("push_failed", error=type(error).__name__)
        return False
    return True


def take(priorities: Sequence[str], *, limit: int, timeout_seconds: float, lane: Lane = Lane.MESSAGES) -> list[Waiting]:
    """Wait for jobs of a lane, highest priority first; workers that wait longest are served first.

    Up to `limit` of one priority, or an empty list after `timeout_seconds` (< PATIENCE_SECONDS). Raises Away.
    """
    priority_of = {_list(lane, priority): priority for priority in priorities}
    with asking() as client:
        answer: Any = client.blmpop(timeout_seconds, len(priority_of), *priority_of, direction="RIGHT", count=limit)
    if not answer:
        return []
    name, ids = answer
    return [Waiting(UUID(bytes=raw), priority_of[name.decode()], lane) for raw in ids if len(raw) == 16]


def head(priority: str, *, limit: int, lane: Lane = Lane.MESSAGES) -> list[UUID]:
    """The ids that will be taken next."""
    with asking() as client:
        raw: Any = client.lrange(_list(lane, priority), -limit, -1)
    return [UUID(bytes=item) for item in raw if len(item) == 16]


def depths(lane: Lane = Lane.MESSAGES) -> dict[str, int]:
    """How many ids wait in each list of a lane (stale and double ones included), by priority."""
    with asking() as client:
        lengths = ask_all(client, [methodcaller("llen", _list(lane, priority)) for priority in Priority])
    return dict(zip([p.value for p in Priority], lengths, strict=True))


# ── The gate, L1 ──────────────────────────────────────────────────────────────────────────────


# Both for any number of keys in one command: what redis-py does for each command of a pipeline took ten times longer
# than Redis does. `pcall`: a key of a wrong type, or a Redis that takes no writes, spoils nothing but itself.
_ASK = """
local said = {}
for i, key in ipairs(KEYS) do
    said[i] = redis.pcall('SET', key, ARGV[i + 1], 'NX', 'GET', 'EX', ARGV[1]) == 'sent' and '1' or '0'
end
return table.concat(said)
"""
_REMEMBER = "for _, key in ipairs(KEYS) do redis.pcall('SET', key, 'sent', 'EX', ARGV[1]) end"


def ask_gate(claims: Sequence[Claim]) -> set[int]:
    """SETNX for each claim's key: the tokens whose key is `sent` already.

    Any other value, and no answer, means "ask L2" (PROTOCOL trace 13). L1 may only ever save work.
    Never raises.
    """
    said = _gate_script(_ASK, [claim.dedupe_hash for claim in claims], [claim.token for claim in claims])
    return {claim.token for claim, was_sent in zip(claims, said, strict=True) if was_sent == b"1"} if said else set()


def remember_sent(hashes: Iterable[bytes]) -> None:
    """After the commit of `sent`: later duplicates need not take a row. Never raises."""
    _gate_script(_REMEMBER, list(hashes))


def _gate_script(text: str, hashes: Sequence[bytes], values: Sequence[int] = ()) -> list[bytes]:
    """Run a script on the gate's keys: a byte for each, or nothing when Redis does not answer.

    The keys of a cluster lie on different nodes, so there each is a call by itself."""
    ttl = tunables().gate_ttl_seconds
    try:
        with asking() as client:
            script = client.register_script(text)
            if isinstance(client, RedisCluster):
                calls = [(_gate(h), values[n : n + 1]) for n, h in enumerate(hashes)]
                said = [script(keys=[key], args=[ttl, *args]) for key, args in calls]
            else:
                said = [script(keys=[_gate(h) for h in hashes], args=[ttl, *values])] if hashes else []
    except Away:
        return []
    return [byte.to_bytes() for byte in b"".join(filter(None, said))]


# ── The front door's memory ───────────────────────────────────────────────────────────────────


def recall_keys(keys: Sequence[OwnKey]) -> dict[OwnKey, UUID]:
    """The jobs that these keys led to, as far as Redis knows; the caller reads their rows (PROTOCOL trace 19).
    Never raises."""
    if not keys:
        return {}
    try:
        with asking() as client:
            values = _values(client, [_idem(key) for key in keys])
    except Away:
        return {}
    return {key: UUID(bytes=raw) for key, raw in zip(keys, values, strict=True) if raw and len(raw) == 16}


def _values(client: Redis | RedisCluster, names: Sequence[str]) -> Sequence[Any]:
    if isinstance(client, RedisCluster):  # they stand on different nodes
        return [client.get(name) for name in names]
    values: Any = client.mget(names)
    return list(values)
