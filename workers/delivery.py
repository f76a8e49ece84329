"""One email's trip, from a claimed job to a settled row.

prepare   the payload becomes bytes; nothing has left yet
acquit    only of a job that may have killed a worker: its preparation did no harm
route     the provider, if it may be called now; when it provably did not take it, the next that stands in for it
connect   a line to it, reused when one is open
offer     envelope and body, all but the final dot: refused here is provably not sent
mark      PostgreSQL commits `dot`; refused means that the job is no longer ours (what may be repeated is not marked)
commit    the dot, and the wait for the reply: the only step whose outcome can be unknowable
settle    the outcome goes to the recorder, which commits it; whatever happens, every trip ends here
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import structlog

from jobs.claims import Claim
from jobs.conf import Tunables
from jobs.errors import ClaimLost, DeliveryError, Interrupted, Permanent, Postponed, Transient, Unanswered
from jobs.settlements import Settlement
from workers import reports, settlement
from workers.channels.base import Channel, Receipt, Route
from workers.recorder import MarkUncertain, Recorder
from workers.routes import Routes

log = structlog.get_logger(__name__)


async def _at_once() -> None: ...


class Delivery:
    """One trip of one claim."""

    def __init__(
        self,
        claim: Claim,
        *,
        worker: UUID,
        channels: Mapping[str, Channel],
        recorder: Recorder,
        routes: Routes,
        conf: Tunables,
        my_turn: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        """`my_turn` returns when this trip may compute: one that prepares a large message holds up all others."""
        self.claim = claim
        self._my_turn = my_turn
        self.worker = worker
        self.channels = channels
        self.recorder = recorder
        self.routes = routes
        self.conf = conf
        self.provider: str | None = None
        self.may_be_marked = False
        self.is_marked = False
        self.receipt: Receipt | None = None
        self.refusal: DeliveryError | None = None  # of the provider that was asked last
        self.started = time.monotonic()

    async def run(self) -> None:
        """Make the trip, and have it written down how it ended."""
        structlog.contextvars.bind_contextvars(about=self)
        try:
            await self._send()
        except ClaimLost:
            self._step_back("claim_lost")
        except Postponed as error:
            self._postpone(error)
        except Interrupted:
            self._step_back("interrupted")
        except MarkUncertain:
            self._step_back("mark_uncertain")
        except asyncio.CancelledError:
            self._hand_back()
        except Exception as error:
            self._end_badly(error)
        else:
            self._settle(self._ending())

    async def _send(self) -> None:
        channel = self._channel()
        await self._my_turn()
        parcel = channel.prepare(self.claim)
        if self.claim.is_suspect:
            await self.recorder.acquit(self.claim)
        refusal: DeliveryError | None = None
        closed: list[Postponed] = []
        for number, route in enumerate(channel.routes(parcel)):
            if why_not := await self.routes.why_not(route, stands_in=number > 0):
                closed.append(why_not)
                continue
            if refusal is not None and not await self._pass_on(refusal, to=route):
                self.routes.given_up(route)
                break
            refusal = await self._send_by(route, channel, parcel)
            if not isinstance(refusal, Transient | Postponed):
                break
        if refusal is not None:
            raise refusal
        if self.receipt is None:
            raise min(closed, key=lambda why: why.wait_seconds)

    async def _send_by(self, route: Route, channel: Channel, parcel: Any) -> DeliveryError | None:
        """What this route said against it."""
        self.provider = route.provider
        try:
            async with channel.connect(parcel, route) as line:
                await line.offer(parcel)
                if not channel.may_be_repeated:
                    await self._mark(route.provider)
                self.receipt = await line.commit()
        except (Transient, Permanent, Unanswered) as error:
            if self.receipt is None:
                self.refusal = error
                return await self.routes.failed(route, error, marked=self.is_marked)
        except BaseException:
            self.routes.given_up(route)
            raise
        self.routes.worked(route)
        return None

    def _channel(self) -> Channel:
        try:
            return self.channels[self.claim.type]
        except KeyError:
            raise Transient(f"This worker has no channel for {self.claim.type!r}.", kind="no_channel") from None

    async def _mark(self, provider: str) -> None:
        """Nothing is committed to the other side without this row (I6)."""
        self.may_be_marked = True
        await self.recorder.mark(self.claim, provider)
        self.is_marked = True

    async def _pass_on(self, refusal: DeliveryError, *, to: Route) -> bool:
        """Another may be offered it: this one provably did not take it, and loses its mark (PROTOCOL trace 12)."""
        refused = self._ending(refusal)
        self.is_marked = False  # no dot is unanswered
        try:
            await self.recorder.pass_on(refused)
        except ClaimLost:  # declared dead meanwhile: the refusal is settled
            self.is_marked = True
            return False
        self.may_be_marked, self.refusal = False, None
        reports.passed_on(refused, to=to.provider)
        return True

    # ── How a trip can end ────────────────────────────────────────────────────────────────────

    def _ending(self, error: BaseException | None = None) -> Settlement:
        """A receipt stands, even when giving the connection back failed afterwards."""
        took = time.monotonic() - self.started
        if self.receipt is not None:
            return settlement.of_receipt(
                self.claim, self.receipt, worker=self.worker, marked=self.is_marked, took_seconds=took
            )
        if not isinstance(error, DeliveryError):
            log.error("trip_failed", exc_info=error)
        return settlement.of_error(
            self.claim,
            error,
            worker=self.worker,
            provider=self.provider,
            marked=self.is_marked,
            took_seconds=took,
            conf=self.conf,
        )

    def _end_badly(self, error: Exception) -> None:
        if self.may_be_marked and not self.is_marked:
            self._step_back("mark_uncertain")  # and leaving the line failed, too: no dot was written
        else:
            self._settle(self._ending((self.refusal if self.is_marked else None) or error))

    def _settle(self, settlement: Settlement) -> None:
        self.recorder.settle(settlement)

    def _postpone(self, error: Postponed) -> None:
        """Nobody was called, or in vain for all the others, too: it costs no attempt."""
        reports.postponed(self.claim, error)
        self.recorder.put_back([self.claim], wait_seconds=error.wait_seconds)

    def _step_back(self, event: str) -> None:
        """No dot was written. Give the job back, harmlessly if it is not ours any more."""
        log.warning(event)
        self.recorder.put_back([self.claim], wait_seconds=self.conf.put_back_seconds, unmark=event != "claim_lost")

    def _hand_back(self) -> None:
        """The worker must leave now. Marked: nobody can know. Not marked: nothing was sent."""
        if self.is_marked:
            self._settle(self._ending(self.refusal or Unanswered("The worker had to stop.", kind="interrupted")))
        else:
            log.info("handed_back")
            self.recorder.put_back([self.claim], wait_seconds=0.0, unmark=self.may_be_marked)

    @property
    def names(self) -> dict[str, object]:
        """What stands in each of its lines in the log (scheduler/logs.py)."""
        return {**self.claim.names, "worker_id": str(self.worker)}
