"""Which way a message may go now: past what does not work (circuit_breaker.py), and within limits (rate_limit.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from jobs.claims import Claim
from jobs.errors import DeliveryError, Postponed
from jobs.metrics import CIRCUIT_OPEN, FAILOVERS
from workers import reports
from workers.channels.base import Route
from workers.circuit_breaker import Circuits
from workers.providers import Provider, stand_ins
from workers.rate_limit import Limits


def tell_of_providers(providers: Mapping[str, Provider]) -> None:
    """As 0, what has happened to none of them yet: else the first time would not be seen to be one."""
    for alias in providers:
        CIRCUIT_OPEN.labels(provider=alias).set(0)
        for provider, another in combinations(stand_ins(alias, providers), 2):
            FAILOVERS.labels(provider=provider.alias, to=another.alias)


class Routes:
    """One worker process's."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._circuits = Circuits(always=limits.routes)

    def refresh(self) -> None:
        """Hear how things stand, also while there is nothing to do. From the takers' threads."""
        self._circuits.refresh()

    def waits(self, claims: Sequence[Claim]) -> dict[int, float]:
        """By token, the seconds that these have to wait for their turn. From the takers' threads. Raises django.db's
        errors."""
        self._circuits.refresh()
        turns = self._limits.turns(claims, is_open=self._circuits.is_open)
        for claim in claims:
            if turn := turns.get(claim.token):
                kind = f"{turn.lacks.partition(':')[0]}_rate"
                reports.postponed(claim, Postponed(kind=kind, wait_seconds=turn.wait_seconds))
        return {token: turn.wait_seconds for token, turn in turns.items()}

    async def why_not(self, route: Route, *, stands_in: bool = False) -> Postponed | None:
        """Why it may not be gone now; None: it may. `stands_in`: not the message's own, which has been asked for room
        already, with all else that the message needs (`waits`)."""
        if not await self._circuits.lets_through(route):
            return self._circuits.postponed(route)
        if stands_in and (wait_seconds := await self._limits.wait_seconds(route)):
            self._circuits.given_up(route)
            return Postponed(kind="provider_rate", wait_seconds=wait_seconds)
        return None

    def given_up(self, route: Route) -> None:
        self._circuits.given_up(route)

    def worked(self, route: Route) -> None:
        self._circuits.worked(route)

    async def failed(self, route: Route, error: DeliveryError, *, marked: bool) -> DeliveryError:
        """This error, or Postponed: whatever it is that the trip shall end with."""
        return await self._circuits.failed(route, error, marked=marked)
