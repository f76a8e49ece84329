"""Which way a message may go now: past what does not work (circuit_breaker.py), and within limits (rate_limit.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import combinations
from math import inf

from jobs.claims import Claim
from jobs.errors import DeliveryError, Postponed
from jobs.metrics import CIRCUIT_OPEN, FAILOVERS
from workers import reports
from workers.channels.base import Route
from workers.circuit_breaker import Circuits
from workers.providers import endpoints, stand_ins
from workers.rate_limit import Limits


def tell_of_providers() -> None:
    """As 0, what has happened to none of them yet: else the first time would not be seen to be one."""
    providers = endpoints()
    for alias in providers:
        CIRCUIT_OPEN.labels(provider=alias).set(0)
        for provider, another in combinations(stand_ins(alias, providers), 2):
            FAILOVERS.labels(provider=provider.alias, to=another.alias)


class Routes:
    """One worker process's."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._circuits = Circuits()

    def refresh(self) -> None:
        """Hear how things stand, also while there is nothing to do. From the takers' threads."""
        self._circuits.refresh()

    def waits(self, claims: Sequence[Claim]) -> dict[int, float]:
        """By token, the seconds that these have to wait for their turn. From the takers' threads. Raises django.db's
        errors."""
        self._circuits.refresh()
        turns = self._limits.turns(claims)
        for claim in claims:
            if turn := turns.get(claim.token):
                kind = f"{turn.lacks.partition(':')[0]}_rate"
                reports.postponed(claim, Postponed(kind=kind, wait_seconds=turn.wait_seconds))
        return {token: turn.wait_seconds for token, turn in turns.items()}

    async def passable(self, routes: Sequence[Route]) -> AsyncIterator[Route]:
        """Those that may be gone now, one after the other. Raises Postponed when none may."""
        is_any, full_seconds = False, inf
        for number, route in enumerate(routes):
            if not await self._circuits.lets_through(route):
                continue
            # The first has been asked for room already, with all else that the message needs (`waits`).
            if number > 0 and (wait_seconds := await self._limits.wait_seconds(route)):
                full_seconds = min(full_seconds, wait_seconds)
                continue
            is_any = True
            yield route
        if not is_any:
            raise self._postponed(routes, full_seconds)

    def _postponed(self, routes: Sequence[Route], full_seconds: float) -> Postponed:
        """Until one that works may be given more, or the first of them may work again."""
        if full_seconds < inf:
            return Postponed(kind="provider_rate", wait_seconds=full_seconds)
        return min(map(self._circuits.postponed, routes), key=lambda error: error.wait_seconds)

    def worked(self, route: Route) -> None:
        self._circuits.worked(route)

    async def failed(self, route: Route, error: DeliveryError, *, marked: bool) -> DeliveryError:
        """This error, or Postponed: whatever it is that the trip shall end with."""
        return await self._circuits.failed(route, error, marked=marked)
