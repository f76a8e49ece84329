"""Email: a letter, and a way to the provider it names: the two-step DATA (workers/smtp.py), or HTTP (esp.py)."""

from __future__ import annotations

from collections.abc import Mapping

from jobs import errors
from jobs.claims import Claim
from jobs.conf import Tunables
from workers.channels import letter
from workers.channels.base import MailReceipt, Route
from workers.channels.esp import EspDesk, EspLine
from workers.channels.letter import Letter
from workers.esp_endpoint import EspEndpoint
from workers.providers import Provider, stand_ins
from workers.smtp_pool import Loan, Pool
from workers.smtp_wire import Timeouts


class EmailLine:
    """An open way to one provider, good for one letter: `async with`, at whose end a dotless message is dropped."""

    def __init__(self, pool: Pool, parcel: Letter) -> None:
        self.provider = pool.endpoint.alias
        self._pool = pool
        self._letter = parcel
        self._loan: Loan

    async def __aenter__(self) -> EmailLine:
        """Raises Transient when the provider does not answer."""
        self._loan = await self._pool.lend(self._letter)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loan.give_back()

    async def offer(self, parcel: Letter) -> None:
        """Envelope and body without the final dot; whatever this raises, nothing was sent."""
        await self._loan.offer()

    async def commit(self) -> MailReceipt:
        """The dot and the answer to it; see Conversation.commit for what is raised when."""
        reply = await self._loan.commit()
        return MailReceipt(
            provider=self.provider,
            code=reply.code,
            detail=reply.detail,
            message_id=self._letter.message_id,
            accepted=self._loan.accepted,
            refused=self._loan.refused,
        )


class EmailChannel:
    """All emails of one worker process: a pool of connections, or a desk, per provider.

    `endpoints` by alias, the first is the default. Raises ImproperlyConfigured when a CA file cannot be read, or a
    service's parameters are not those that it takes.
    """

    may_be_repeated = False

    def __init__(self, endpoints: Mapping[str, Provider], tunables: Tunables) -> None:
        timeouts = Timeouts.of(tunables)
        self._pools = {
            alias: EspDesk(endpoint, tunables) if isinstance(endpoint, EspEndpoint) else Pool(endpoint, timeouts)
            for alias, endpoint in endpoints.items()
        }
        self._routes = {alias: routes_from(alias, endpoints) for alias in endpoints}
        self._default = next(iter(endpoints))
        self._by_type = tunables.type_providers

    def prepare(self, claim: Claim) -> Letter:
        return letter.write(claim)

    def routes(self, parcel: Letter) -> tuple[Route, ...]:
        """The letter's provider, and those that stand in for it. Raises Transient when there is none of this name."""
        # The API lets no unknown alias in. A name that is missing here was taken out of the configuration
        # afterwards, or this worker still runs with the old one: the next attempt may be luckier.
        routes = self._routes.get(parcel.provider or self._of_type(parcel) or self._default)
        if routes is None:
            raise errors.Transient("No provider of this name is configured.", kind="provider_unknown")
        return routes

    def connect(self, parcel: Letter, route: Route) -> EmailLine | EspLine:
        pool = self._pools[route.provider]
        return pool.line(parcel) if isinstance(pool, EspDesk) else EmailLine(pool, parcel)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()

    def _of_type(self, parcel: Letter) -> str | None:
        """As it is set now: a job that names no provider goes where its type goes when it is sent."""
        return self._by_type.get(parcel.origin.claim.type) if parcel.origin and self._by_type else None


def routes_from(alias: str, endpoints: Mapping[str, Provider]) -> tuple[Route, ...]:
    """From a provider on, by those that stand in for it."""
    return tuple(Route("email", each.alias, each.rates) for each in stand_ins(alias, endpoints))
