"""One worker process: a loop that talks to the outside, and three threads with one duty each.

The first SIGTERM or SIGINT drains: nothing new is taken, what is under way gets `drain_seconds`. The second
hands everything back at once. A thread or a loop that dies takes the worker down in the same order; what hangs is the
watchdog's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from jobs import types
from jobs.claims import Claim
from jobs.conf import Tunables, tunables
from jobs.database import fingerprint
from jobs.postgres.base import while_waiting
from jobs.states import Lane
from workers import reports
from workers.channels.base import Channel
from workers.channels.registry import channels
from workers.delivery import Delivery
from workers.heartbeat import Heartbeat
from workers.journal import Journal
from workers.providers import endpoints
from workers.pulse import Pulse
from workers.rate_limit import Limits
from workers.recorder import IDLE_SECONDS, Recorder
from workers.routes import Routes, tell_of_providers
from workers.slots import Slots
from workers.taker import SWEEP_SECONDS, TAKERS, Taker

Over = asyncio.Future[None]  # done when a thread has ended

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
TURN_SECONDS = 0.002  # of preparing messages, before the others go on
HAND_BACK_SECONDS = 5.0  # for the last commits, after trips were cancelled


def collect_garbage_seldom() -> None:
    """For a process that is nothing but a worker. Hundreds of trips are under way and come to an end by themselves;
    Python's collector would look through all of them, and all that was imported, after each 700 new objects, which
    took some 5 % of a mail."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class Worker:
    """`run` returns the exit code: 0 after a drain, 1 when a part of it died."""

    def __init__(
        self,
        *,
        priorities: Sequence[str],
        concurrency: int,
        conf: Tunables | None = None,
        channels: Callable[[], dict[str, Channel]] = channels,
        delivery: type[Delivery] = Delivery,
    ) -> None:
        """`channels` is asked for fresh ones once the loop runs; `delivery` makes the trips."""
        conf = conf or tunables()
        has_tasks = any(type.lane is Lane.TASKS for type in types.every())
        self.id: UUID = uuid7()  # new with every process: a restarted one must not beat for the dead (trace 6)
        self._conf = conf
        lanes = [Lane.MESSAGES, *([Lane.TASKS] if has_tasks else [])]
        self.pulse = Pulse(
            loop=TICK_SECONDS,
            recorder=IDLE_SECONDS,
            heartbeat=conf.heartbeat_seconds,
            **{TAKERS[lane]: SWEEP_SECONDS for lane in lanes},
        )
        self._slots = Slots(concurrency, tasks=conf.worker_hands)
        journals = conf.journal_dir / fingerprint()
        self._journal = Journal(journals, self.id)
        self._recorder = Recorder(
            journal=self._journal,
            pulse=self.pulse,
            under_way=self._slots.__len__,
            on_over=self._slots.free,
            on_acquitted=self._slots.acquit,
            on_settled=reports.settled,
        )
        self._heartbeat = Heartbeat(worker=self.id, slots=self._slots, pulse=self.pulse, conf=conf)
        providers = endpoints()
        self._routes = Routes(Limits(providers, conf))
        tell_of_providers(providers)
        self._takers = [
            Taker(
                worker=self.id,
                lane=lane,
                priorities=priorities,
                slots=self._slots,
                recorder=self._recorder,
                routes=self._routes,
                hand_over=self._hand_over,
                pulse=self.pulse,
                conf=conf,
                journals=journals,
            )
            for lane in lanes
        ]
        self._make_channels = channels
        self._make_delivery = delivery
        self._trips: set[asyncio.Task[None]] = set()
        self._is_closed = False  # no trip sets out any more
        self._has_failed = False

    def run(self, *, follow: int | None = None) -> int:
        """Work until told to stop, or until the other end of the pipe `follow` (a file descriptor) is gone."""
        try:
            asyncio.run(self._main(follow))
        except BaseException:  # a SystemExit somewhere in a trip ends the loop, too
            log.exception("loop_died", worker_id=str(self.id))
            self._has_failed = True
        return int(self._has_failed)

    def stop(self) -> None:
        """As the first signal does; from any thread."""
        self._loop.call_soon_threadsafe(self._signalled)

    async def _main(self, follow: int | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._leave_now = asyncio.Event()
        self._turn_ends = 0.0
        self._next_turn_comes = False
        self._channels = self._make_channels()
        self._listen_to_signals()
        if follow is not None:
            self._loop.add_reader(follow, self._parent_gone, follow)
        threads = [
            self._thread("recorder", self._recorder.run),
            self._thread("heartbeat", self._heartbeat.run),
            *(self._thread(taker.name, taker.run) for taker in self._takers),
        ]
        ticking = asyncio.create_task(self._tick())
        log.info("worker_started", worker_id=str(self.id), concurrency=self._slots.capacities[Lane.MESSAGES])
        with contextlib.suppress(asyncio.CancelledError):  # the loop dies, and lets its tasks come to an end
            await self._stop.wait()
        await self._drain(*threads)
        ticking.cancel()
        log.info("worker_stopped", worker_id=str(self.id), failed=self._has_failed)

    def _listen_to_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self._leave_now if self._stop.is_set() else self._stop).set()

    def _parent_gone(self, follow: int) -> None:
        self._loop.remove_reader(follow)
        self._stop.set()

    async def _tick(self) -> None:
        while True:
            self.pulse.progress("loop")
            await asyncio.sleep(TICK_SECONDS)

    # ── Trips ─────────────────────────────────────────────────────────────────────────────────

    def _hand_over(self, claims: list[Claim]) -> None:
        """From the taker's thread."""
        self._tell_loop(self._set_out, claims)

    def _set_out(self, claims: list[Claim]) -> None:
        if self._is_closed:
            self._recorder.put_back(claims, wait_seconds=0.0)
            return
        for claim in claims:
            delivery = self._make_delivery(
                claim,
                worker=self.id,
                channels=self._channels,
                recorder=self._recorder,
                routes=self._routes,
                conf=self._conf,
                my_turn=self._my_turn,
            )
            trip = self._loop.create_task(delivery.run())
            self._trips.add(trip)
            trip.add_done_callback(partial(self._trip_over, claim.token))

    async def _my_turn(self) -> None:
        """Preparations one after the other: when they have taken the loop for a while, all who are under way go on
        before the next, and the loop lives."""
        is_first = False
        while not is_first and self._loop.time() >= self._turn_ends:
            if is_first := not self._next_turn_comes:
                self._next_turn_comes = True
                self._loop.call_soon(self._begin_turn)
            await asyncio.sleep(0)

    def _begin_turn(self) -> None:
        self._next_turn_comes = False
        self._turn_ends = self._loop.time() + TURN_SECONDS
        self.pulse.tick("loop")

    def _trip_over(self, token: int, trip: asyncio.Task[None]) -> None:
        self._trips.discard(trip)
        if not trip.cancelled() and (error := trip.exception()):
            log.error("trip_died", exc_info=error)
            self._slots.free([token])  # not known any more: the own sweep gives its job back

    # ── The end ───────────────────────────────────────────────────────────────────────────────

    async def _drain(self, recorder: Over, heartbeat: Over, *takers: Over) -> None:
        """Stop in the order in which work flows: take nothing, finish trips, record, fall silent."""
        deadline = self._loop.time() + self._conf.drain_seconds
        log.info("worker_draining", in_flight=len(self._slots))
        # One that died gets a second life, to write down and to be heard until the trips are over.
        recorder = self._thread("recorder", self._recorder.run) if recorder.done() else recorder
        heartbeat = self._thread("heartbeat", self._heartbeat.run) if heartbeat.done() else heartbeat
        self._heartbeat.is_draining = True
        for taker in self._takers:
            taker.stop()
        for over in takers:
            await self._patiently(over, deadline - self._loop.time())
        await self._finish_trips(deadline)
        await asyncio.wait(takers, timeout=HAND_BACK_SECONDS)  # what they took last goes back, too
        self._recorder.stop()
        await self._patiently(recorder, max(deadline - self._loop.time(), HAND_BACK_SECONDS))
        await asyncio.wait([recorder], timeout=HAND_BACK_SECONDS)
        self._recorder.abandon()
        await asyncio.wait([recorder], timeout=HAND_BACK_SECONDS)
        self._journal.close()
        self._heartbeat.stop(holds_nothing=len(self._slots) == 0)
        await asyncio.wait([heartbeat], timeout=HAND_BACK_SECONDS)
        for channel in set(self._channels.values()):
            await channel.close()

    async def _finish_trips(self, deadline: float) -> None:
        leave_now = asyncio.create_task(self._leave_now.wait())
        while self._trips and not leave_now.done() and self._loop.time() < deadline:
            under_way: list[asyncio.Task[Any]] = [*self._trips, leave_now]
            await asyncio.wait(under_way, timeout=deadline - self._loop.time(), return_when=asyncio.FIRST_COMPLETED)
        leave_now.cancel()
        self._is_closed = True  # what the taker still hands over goes back, before a trip is cancelled that it is not
        if self._trips:
            log.warning("handing_back", trips=len(self._trips))
            for trip in self._trips:
                trip.cancel()
            await asyncio.wait(self._trips, timeout=HAND_BACK_SECONDS)

    async def _patiently(self, thread: Over, seconds: float) -> None:
        """Wait for a thread to end, but no longer than this, and not after a second signal."""
        leave_now = asyncio.create_task(self._leave_now.wait())
        either: list[asyncio.Future[Any]] = [thread, leave_now]
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        leave_now.cancel()

    def _thread(self, name: str, run: Callable[[], None]) -> Over:
        """Start a thread; the future is done when it ends. One that dies stops the worker."""
        over: Over = self._loop.create_future()

        def guarded() -> None:
            while_waiting(partial(self.pulse.tick, name))
            try:
                run()
                self.pulse.forget(name)
            except BaseException:
                log.exception("thread_died", thread=name, worker_id=str(self.id))
                self._has_failed = True
            self._tell_loop(self._thread_over, over)

        threading.Thread(target=guarded, name=name, daemon=True).start()
        return over

    def _thread_over(self, over: Over) -> None:
        over.set_result(None)
        if self._has_failed:
            self._stop.set()

    def _tell_loop(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # a thread that hangs outlives the loop, which waits for none for ever
            self._loop.call_soon_threadsafe(function, *args)
