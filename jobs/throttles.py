"""What workers tell each other, in Redis, about those they call: whose circuit is open, and who has had enough for now.

Redis may forget it at any moment (I2): then a provider that is away is called in vain a few times more, or one that
has had enough is told a little more than it wanted. Nothing here raises: without Redis all circuits are closed and all
buckets full.

    sendonce:circuit:{name}              hash: calls by slices of the window, while it is closed (`ok:{slice}`,
                                         `bad:{slice}`); while it is open `until`, then `probe`, until when somebody
                                         tries (milliseconds of Redis's clock)
    {sendonce}:bucket:{name}:{period}    hash: tokens `left` at time `at`; `row`, until when those that were turned away
                                         wait; the braces put all buckets into one slot of a cluster

Circuit breaker: M. Nygard, Release It!, chapter 5. Token bucket: RFC 2697 §3 has its plainest form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from redis import RedisCluster

from jobs.conf import tunables
from jobs.rates import Rate
from jobs.redis_session import Away, asking

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 30.0  # in which calls are counted
SLICES: Final = 3  # that it is made of: the oldest is forgotten as a whole
LEAST_CALLS: Final = 3
FAILING_SHARE: Final = 0.6
TRIAL_SECONDS: Final = 2.0  # after which all others ask again how that went
LONGEST_ROW_SECONDS: Final = 300.0  # that somebody is told to wait for a token


class Counts(NamedTuple):
    """Calls since the last report."""

    ok: int = 0
    bad: int = 0


_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# For each key: -1 closed, 0 half-open, or the milliseconds for which it is open still; and whether it has just opened.
_REPORT = (
    _NOW
    + """
local window, slices, least, share, rest = unpack(ARGV, 1, 5)
local slice = math.floor(now / (window / slices))
local function fails(key, ok, bad)
    redis.call('HINCRBY', key, 'ok:' .. slice, ok)
    redis.call('HINCRBY', key, 'bad:' .. slice, bad)
    redis.call('PEXPIRE', key, window * 2)
    local all, failed, counts = 0, 0, redis.call('HGETALL', key)
    for i = 1, #counts, 2 do
        local kind, at = string.match(counts[i], '^(%a+):(%d+)$')
        if at and slice - at >= tonumber(slices) then
            redis.call('HDEL', key, counts[i])
        elseif at then
            all = all + counts[i + 1]
            if kind == 'bad' then failed = failed + counts[i + 1] end
        end
    end
    return all >= tonumber(least) and failed >= share * all
end
local said = {}
for i, key in ipairs(KEYS) do
    local ok, bad = tonumber(ARGV[4 + 2 * i]), tonumber(ARGV[5 + 2 * i])
    local ends = tonumber(redis.call('HGET', key, 'until'))
    local opens = false
    if ends then opens = bad > 0 and now >= ends elseif ok + bad > 0 then opens = fails(key, ok, bad) end
    if opens then
        ends = now + rest
        redis.call('DEL', key)
        redis.call('HSET', key, 'until', ends)
        redis.call('PEXPIRE', key, rest * 20)
    end
    said[i] = {ends and math.max(ends - now, 0) or -1, opens and 1 or 0}
end
return said
"""
)

# -1: it is closed. 0: you are the one who tries. Else the milliseconds until asking again is of use.
_PROBE = (
    _NOW
    + """
local ends, probe = unpack(redis.call('HMGET', KEYS[1], 'until', 'probe'))
if not ends then return -1 end
if now < tonumber(ends) then return tonumber(ends) - now end
local trial = tonumber(probe or 0) - now
if trial > 0 then return math.min(trial, ARGV[2]) end
redis.call('HSET', KEYS[1], 'probe', now + ARGV[1])
return 0
"""
)

# Only one that may be tried: a call that began before it opened proves nothing.
_CLOSE = (
    _NOW
    + """
local ends = tonumber(redis.call('HGET', KEYS[1], 'until'))
if not ends or now < ends then return 0 end
return redis.call('DEL', KEYS[1])
"""
)

# For each wish, the milliseconds to wait and the bucket that is waited for: 0, and its tokens are taken from all its
# buckets; or it has taken none. Those that are turned away stand in a row, so that they do not all come back for the
# same token.
_TAKE = (
    _NOW
    + """
local asked = cjson.decode(ARGV[1])
local buckets, said = {}, {}
for i, key in ipairs(KEYS) do
    local most, per_ms = unpack(asked.rates[i])
    local left, at, row = unpack(redis.call('HMGET', key, 'left', 'at', 'row'))
    left = left and math.min(most, left + math.max(now - at, 0) * per_ms) or most
    buckets[i] = {most = most, per_ms = per_ms, left = left, row = math.max(tonumber(row or 0), now)}
end
for i, wish in ipairs(asked.wishes) do
    local wait, lacks = 0, 0
    for _, draw in ipairs(wish) do
        local bucket = buckets[draw[1]]
        local cost = math.min(draw[2], bucket.most)
        if bucket.left < cost then
            bucket.row = math.min(bucket.row + cost / bucket.per_ms, now + ARGV[2])
            local longer = math.max(math.ceil(bucket.row - now), 1)
            if longer > wait then wait, lacks = longer, draw[1] end
        end
    end
    if wait == 0 then
        for _, draw in ipairs(wish) do
            local bucket = buckets[draw[1]]
            bucket.left = bucket.left - math.min(draw[2], bucket.most)
        end
    end
    said[i] = {wait, lacks}
end
for i, key in ipairs(KEYS) do
    local bucket = buckets[i]
    redis.call('HSET', key, 'left', tostring(bucket.left), 'at', now, 'row', tostring(bucket.row))
    redis.call('PEXPIRE', key, math.ceil(bucket.most / bucket.per_ms) + ARGV[2])
end
return said
"""
)


# ── Circuits ──────────────────────────────────────────────────────────────────────────────────


class Circuit(NamedTuple):
    """`open_seconds` for which nobody calls; 0: somebody may try. None: it is closed."""

    open_seconds: float | None
    has_just_opened: bool = False


def report(calls: Mapping[str, Counts]) -> dict[str, Circuit]:
    """Have these calls counted; how the circuits of these names stand then. Nothing where Redis does not answer."""
    fixed = [_ms(WINDOW_SECONDS), SLICES, LEAST_CALLS, FAILING_SHARE, _ms(tunables().circuit_open_seconds)]
    names = list(calls)
    if not names:
        return {}
    try:
        with asking() as client:
            script = client.register_script(_REPORT)
            groups = [[name] for name in names] if isinstance(client, RedisCluster) else [names]  # by slots, or all
            said: list[tuple[int, int]] = []
            for group in groups:
                counts = [count for name in group for count in calls[name]]
                answer: Any = script(keys=[_circuit(name) for name in group], args=[*fixed, *counts])
                said += answer
    except Away as error:
        log.warning("circuits_unknown", error=type(error).__name__)
        return {}
    return {name: Circuit(_seconds(left), bool(opened)) for name, (left, opened) in zip(names, said, strict=True)}


def may_try(name: str) -> Circuit:
    """An open circuit whose time is over: `open_seconds` 0 says that the caller, and nobody else, tries it now."""
    try:
        with asking() as client:
            said: Any = client.register_script(_PROBE)(
                keys=[_circuit(name)], args=[_ms(tunables().circuit_open_seconds), _ms(TRIAL_SECONDS)]
            )
    except Away:
        return Circuit(None)
    return Circuit(_seconds(said))


def close(name: str) -> bool:
    """It was tried, and works. Whether it was still open."""
    try:
        with asking() as client:
            return bool(client.register_script(_CLOSE)(keys=[_circuit(name)]))
    except Away:
        return False


def _circuit(name: str) -> str:
    return f"sendonce:circuit:{name}"


# ── Token buckets ─────────────────────────────────────────────────────────────────────────────


class Draw(NamedTuple):
    """So many tokens from the bucket of this name, which is filled at this rate. Never more than it holds."""

    name: str
    rate: Rate
    tokens: int = 1


class Turn(NamedTuple):
    """`wait_seconds` 0: it has its tokens, from each of its buckets; else from none, and this one lacks them."""

    wait_seconds: float = 0.0
    lacks: str = ""


def take(wishes: Sequence[Sequence[Draw]]) -> list[Turn]:
    """What becomes of each wish, in their order."""
    buckets = {(draw.name, draw.rate): None for wish in wishes for draw in wish}
    number = {bucket: n for n, bucket in enumerate(buckets, start=1)}
    if not number:
        return [Turn()] * len(wishes)
    asked = {
        "rates": [(rate.most, rate.per_second / 1000) for _, rate in buckets],
        "wishes": [[(number[draw.name, draw.rate], draw.tokens) for draw in wish] for wish in wishes],
    }
    keys = [f"{{sendonce}}:bucket:{name}:{rate.period_seconds}" for name, rate in buckets]
    try:
        with asking() as client:
            args: list[Any] = [msgspec.json.encode(asked), _ms(LONGEST_ROW_SECONDS)]
            said: Any = client.register_script(_TAKE)(keys=keys, args=args)
    except Away as error:
        log.warning("rates_unknown", error=type(error).__name__)
        return [Turn()] * len(wishes)
    names = ["", *(name for name, _ in buckets)]
    return [Turn(wait / 1000, names[lacks]) for wait, lacks in said]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(ms: int) -> float | None:
    return None if ms < 0 else ms / 1000
