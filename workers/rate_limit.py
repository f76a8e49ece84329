"""Rate limits: how much a provider is given, a domain is sent, a user may have done. All workers share them.

Each is a token bucket in Redis (jobs/throttles.py). A job takes a token from each bucket it needs, for a domain one per
recipient, or none at all; then it waits its turn, without spending an attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from django.contrib.auth import get_user_model

from jobs import payloads, throttles, types
from jobs.claims import Claim
from jobs.conf import Tunables
from jobs.errors import Invalid
from jobs.rates import Rate
from jobs.throttles import Draw, Turn
from jobs.types import JobType
from workers.channels.base import Route
from workers.providers import Provider

ANY: Final = "*"
NAMES_SECONDS: Final = 60.0  # a user may be made, or get another name

Rates = tuple[Rate, ...]


class Limits:
    """Those of this installation; where there are none, nobody is asked."""

    def __init__(self, endpoints: Mapping[str, Provider], conf: Tunables) -> None:
        self._of_providers = {alias: endpoint.rates for alias, endpoint in endpoints.items()}
        self._default = next(iter(endpoints))
        self.routes = [Route("email", alias).key for alias in endpoints]
        self._by_type = conf.type_providers
        self._of_domains = {domain.lower(): rates for domain, rates in conf.domain_rates.items()}
        self._of_users = conf.owner_rates
        self._of_owners: dict[int, Rates] = {}
        self._read_names_at = 0.0
        self._are_any = bool(any(self._of_providers.values()) or self._of_domains or self._of_users)

    def turns(self, claims: Sequence[Claim], *, is_open: Callable[[str], bool] = lambda key: False) -> dict[int, Turn]:
        """By token, those that have to wait; the others have their tokens, but none of a provider whose circuit
        `is_open`, which will not be called. Raises django.db's errors."""
        if not self._are_any or not claims:
            return {}
        self._read_names()
        turns = throttles.take([list(self._draws(claim, is_open)) for claim in claims])
        return {claim.token: turn for claim, turn in zip(claims, turns, strict=True) if turn.wait_seconds}

    async def wait_seconds(self, route: Route) -> float:
        """Until a provider that stands in for another has room; 0: it has, and it is taken."""
        if not route.rates:
            return 0.0
        draws = list(_draws("provider", route.provider, route.rates))
        [turn] = await asyncio.to_thread(throttles.take, [draws])
        return turn.wait_seconds

    def _draws(self, claim: Claim, is_open: Callable[[str], bool]) -> Iterator[Draw]:
        yield from _draws("owner", claim.owner_id, self._of_owners.get(claim.owner_id, self._of_users.get(ANY, ())))
        type_ = types.find(claim.type)
        if type_ is None or not type_.is_email:
            return
        alias = claim.provider or self._by_type.get(claim.type) or self._default
        if not is_open(Route("email", alias).key):
            yield from _draws("provider", alias, self._of_providers.get(alias, ()))
        if self._of_domains:
            for domain, recipients in _domains(claim, type_).items():
                rates = self._of_domains.get(domain, self._of_domains.get(ANY, ()))
                yield from _draws("domain", domain, rates, tokens=recipients)

    def _read_names(self) -> None:
        """Jobs know their owners by number, the environment by name."""
        named = [name for name in self._of_users if name != ANY]
        if named and time.monotonic() >= self._read_names_at:
            found = get_user_model().objects.filter(username__in=named).values_list("id", "username")
            self._of_owners = {id: self._of_users[name] for id, name in found}
            self._read_names_at = time.monotonic() + NAMES_SECONDS


def _draws(kind: str, name: object, rates: Rates, *, tokens: int = 1) -> Iterator[Draw]:
    return (Draw(f"{kind}:{name}", rate, tokens) for rate in rates)


def _domains(claim: Claim, type_: JobType) -> Counter[str]:
    """How many recipients each domain has; of what cannot be read none, for it will not be sent."""
    try:
        payload = payloads.from_stored(claim.type, claim.payload)
        recipients = type_.recipients(payload)
    except (Invalid, ValueError):
        return Counter()
    return Counter(address.rpartition("@")[2].lower() for address in recipients)
