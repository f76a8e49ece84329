"""Notifications: Apprise tells a service of people's, in a process of its own, for it blocks (`workers/notifier.py`).

Services do not know a notification again. So it is marked before it is told, and where nobody can know whether it was,
it is an unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobs import payloads
from jobs.claims import Claim
from jobs.errors import Unanswered
from jobs.notifications import NotificationPayload
from workers import notifier
from workers.channels.addressee import address_of
from workers.channels.base import Receipt, Route
from workers.channels.task import result_of
from workers.hands import Hands
from workers.notifier import Notice

AT_ONCE = 4  # processes of a worker
LIMIT_SECONDS = 60.0


class NotificationLine:
    """A process's time, for one notice."""

    def __init__(self, hands: Hands, notice: Notice) -> None:
        self.provider = notice.destination
        self._hands = hands
        self._notice = notice

    async def offer(self, parcel: Notice) -> None:
        """Nothing is said before all is said."""

    async def commit(self) -> Receipt:
        """Have it told. Raises Transient and Permanent for a clear no, Unanswered where there was none."""
        ending = await self._hands.do(notifier.tell, self._notice, limit_seconds=LIMIT_SECONDS)
        result_of(ending, doubt=Unanswered)
        return Receipt(provider=self.provider, code=ending.code, detail=ending.detail)


class NotificationChannel:
    """All notifications of one worker process. Its processes are made when the first one comes."""

    may_be_repeated = False

    def __init__(self) -> None:
        self._hands = Hands(AT_ONCE)
        self._free = asyncio.Semaphore(AT_ONCE)  # who waits for a process is not marked yet

    def prepare(self, claim: Claim) -> Notice:
        payload = payloads.from_stored(claim.type, claim.payload)  # raises Invalid
        assert isinstance(payload, NotificationPayload)
        return Notice(
            url=address_of(claim).url,
            title=payload.title,
            body=payload.body,
            level=payload.level,
            destination=payload.destination,
            owner_id=claim.owner_id,
        )

    def routes(self, parcel: Notice) -> tuple[Route]:
        return (Route("notification", parcel.destination, circuit=f"{parcel.owner_id}:{parcel.destination}"),)

    @asynccontextmanager
    async def connect(self, parcel: Notice, route: Route) -> AsyncIterator[NotificationLine]:
        async with self._free:
            yield NotificationLine(self._hands, parcel)

    async def close(self) -> None:
        await self._hands.close()
