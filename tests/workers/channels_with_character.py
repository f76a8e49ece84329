"""Channels that stand at the edge of the world. All send to one `outbox`: what is in there was really sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from jobs.claims import Claim
from jobs.errors import DeliveryError
from workers.channels.base import MailReceipt, Route


class FakeLine:
    def __init__(self, channel: CalmChannel, claim: Claim, provider: str) -> None:
        self.provider = provider
        self.channel = channel
        self.claim = claim

    async def offer(self, parcel: Claim) -> None:
        await self.channel.on_offer()

    async def commit(self) -> MailReceipt:
        self.channel.dots.append(self.claim.job_id)
        await self.channel.on_dot()
        self.channel.outbox.append(self.claim.job_id)
        return MailReceipt(
            provider=self.provider,
            code=250,
            detail="2.0.0 Queued\0 as\r\n 1",
            message_id=f"<{self.claim.job_id}@sendonce.example>",
            accepted=("ann@example.org",),
        )


class CalmChannel:
    """Takes everything at once. The others step in at one of its `on_…`."""

    may_be_repeated = False
    providers: Sequence[str] = ("main",)  # the first, and those that stand in for it

    def __init__(self) -> None:
        self.tried: list[str] = []  # providers
        self.dots: list[UUID] = []  # the point of no return was passed
        self.outbox: list[UUID] = []  # … and the other side has it
        self.is_closed = False

    def prepare(self, claim: Claim) -> Claim:
        self.on_prepare()
        return claim

    def routes(self, parcel: Claim) -> Sequence[Route]:
        return [Route("email", name) for name in self.providers]

    @asynccontextmanager
    async def connect(self, parcel: Claim, route: Route) -> AsyncIterator[FakeLine]:
        self.tried.append(route.provider)
        await self.on_connect()
        try:
            yield FakeLine(self, parcel, route.provider)
        finally:
            await self.on_give_back()

    async def close(self) -> None:
        self.is_closed = True

    def on_prepare(self) -> None: ...

    async def on_connect(self) -> None: ...

    async def on_offer(self) -> None: ...

    async def on_dot(self) -> None: ...

    async def on_give_back(self) -> None: ...


class RepeatableChannel(CalmChannel):
    """What it does may be done twice."""

    may_be_repeated = True


class RefusingChannel(CalmChannel):
    """Says the same error at one step, every time: prepare, connect, offer, dot or give_back."""

    def __init__(self, step: str, error: BaseException) -> None:
        super().__init__()
        self.step = step
        self.error = error

    def on_prepare(self) -> None:
        self._object_to("prepare")

    async def on_connect(self) -> None:
        self._object_to("connect")

    async def on_offer(self) -> None:
        self._object_to("offer")

    async def on_dot(self) -> None:
        self._object_to("dot")

    async def on_give_back(self) -> None:
        self._object_to("give_back")

    def _object_to(self, step: str) -> None:
        if step == self.step:
            raise self.error


class FlakyChannel(CalmChannel):
    """Refuses before the dot as often as `errors` has it, then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors: Iterator[Exception] = iter(errors)

    async def on_offer(self) -> None:
        for error in self.errors:
            raise error


class SlowChannel(CalmChannel):
    """Stands still at `step` (offer, dot or give_back) until `go_on` is set; `reached` counts who got there."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step
        self.reached = 0
        self.go_on = asyncio.Event()

    async def on_offer(self) -> None:
        await self._stand_still_at("offer")

    async def on_dot(self) -> None:
        await self._stand_still_at("dot")

    async def on_give_back(self) -> None:
        await self._stand_still_at("give_back")

    async def _stand_still_at(self, step: str) -> None:
        if step == self.step:
            self.reached += 1
            await self.go_on.wait()


class Providers(CalmChannel):
    """Each with what it says, at `connect`, `offer` or `dot`; the first in a row takes what is sent to it."""

    def __init__(self, **says: dict[str, DeliveryError]) -> None:
        super().__init__()
        self.says = says
        self.providers = tuple(says)

    async def on_connect(self) -> None:
        self._say("connect")

    async def on_offer(self) -> None:
        self._say("offer")

    async def on_dot(self) -> None:
        self._say("dot")

    def _say(self, step: str) -> None:
        if error := self.says[self.tried[-1]].get(step):
            raise error
