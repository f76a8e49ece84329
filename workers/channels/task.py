"""Tasks: what a type's handler does, in a process of its own (`workers/hands.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jobs import payloads
from jobs.claims import Claim
from jobs.errors import DeliveryError, Permanent, Transient, Unanswered
from jobs.types import JobType
from workers.channels.base import Receipt, Route
from workers.hands import Hands
from workers.tasks import Ending, Errand, How

PROVIDER = "handler"
HANDLER = Route("task", PROVIDER, may_fail=False)


class TaskReceipt(Receipt, frozen=True):
    """What the handler returned."""

    returned: dict[str, Any] = {}

    @property
    def result(self) -> dict[str, Any]:
        return self.returned


def result_of(ending: Ending, *, doubt: type[DeliveryError]) -> dict[str, Any]:
    """What was returned. Raises Transient and Permanent as was said in the process, and `doubt` where nobody can know
    how far it came."""
    match ending.how:
        case How.DONE:
            return ending.result
        case How.TRANSIENT:
            raise Transient(ending.detail, kind=ending.kind, code=ending.code, retry_after=ending.retry_after)
        case How.PERMANENT:
            raise Permanent(ending.detail, kind=ending.kind, code=ending.code)
        case How.UNDONE:
            raise doubt(ending.detail, kind=ending.kind, code=ending.code)


class TaskLine:
    """A process's time, for one errand."""

    provider = PROVIDER

    def __init__(self, hands: Hands, type: JobType, errand: Errand) -> None:
        self._hands = hands
        self._type = type
        self._errand = errand

    async def offer(self, parcel: Errand) -> None:
        """Nothing can be refused before it begins."""

    async def commit(self) -> TaskReceipt:
        """Have it done. Raises Transient and Permanent as the handler does; when nobody can know how far it came,
        Transient if the type may be repeated, else Unanswered."""
        ending = await self._hands.carry_out(self._errand)
        returned = result_of(ending, doubt=Transient if self._type.may_be_repeated else Unanswered)
        return TaskReceipt(provider=PROVIDER, code=None, detail="", returned=returned)


class TaskChannel:
    """All jobs of one type that has a handler."""

    def __init__(self, type: JobType, hands: Hands) -> None:
        self.may_be_repeated = type.may_be_repeated
        self._type = type
        self._hands = hands

    def prepare(self, claim: Claim) -> Errand:
        payloads.from_stored(claim.type, claim.payload)  # raises Invalid
        return Errand.of(claim, limit_seconds=self._type.time_limit_seconds)

    def routes(self, parcel: Errand) -> tuple[Route]:
        return (HANDLER,)

    @asynccontextmanager
    async def connect(self, parcel: Errand, route: Route) -> AsyncIterator[TaskLine]:
        yield TaskLine(self._hands, self._type, parcel)

    async def close(self) -> None:
        await self._hands.close()
