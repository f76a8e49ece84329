"""The recorder: one thread that commits marks and outcomes in groups as they pile up.

While one group is being committed, and for a moment after, the next one gathers; who comes after a pause waits for
nobody. Marks are answered in the asyncio loop after the commit, each from its own returned row; to settle and to give
back nobody waits. When PostgreSQL is away, marks fail at once (no mark, no dot), everything else is kept and written
when it is back.
"""

from __future__ import annotations

import asyncio
import queue as fifo
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from django.db import connection

from jobs import queue
from jobs.claims import Claim
from jobs.database import is_away, is_refused, sqlstate
from jobs.errors import ClaimLost, DeliveryError
from jobs.settlements import Settlement
from jobs.states import Outcome, Status
from workers.group import MIDWAY, Acquittal, Entry, Group, Mark, PassedOn, PutBack, Request
from workers.journal import Journal
from workers.pulse import Pulse

log = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
RETRY_SECONDS = 0.25
GATHER_SECONDS = 0.015  # from one commit to the next: what comes meanwhile is committed with it, for one price …
ENOUGH = 32  # … unless so many wait already, and half of all who are under way: they have little to gain
LOOK_SECONDS = 0.001
LARGEST_GROUP = 500


class MarkUncertain(DeliveryError):
    """Whether the dot mark was committed cannot be known; no dot may be written."""


class Recorder:
    """Runs in its own thread; its coroutines are called from the loop's."""

    def __init__(
        self,
        *,
        journal: Journal,
        pulse: Pulse,
        under_way: Callable[[], int],
        on_over: Callable[[list[int]], None],
        on_acquitted: Callable[[list[int]], None],
        on_settled: Callable[[Settlement, Status | None], None],
    ) -> None:
        self._journal = journal
        self._pulse = pulse
        self._under_way = under_way  # trips, of this worker
        self._on_over = on_over  # told the tokens of trips that are written down
        self._on_acquitted = on_acquitted
        self._on_settled = on_settled  # told each job's new status, or None when it was not ours any more
        self._entries: fifo.SimpleQueue[Entry] = fifo.SimpleQueue()
        self._backlog: list[Entry] = []
        self._committed_at = 0.0
        self._stopping = threading.Event()
        self._abandoned = threading.Event()

    # ── Called from the loop ──────────────────────────────────────────────────────────────────

    async def mark(self, claim: Claim, provider: str) -> None:
        """Returns once the mark is committed. Raises ClaimLost or MarkUncertain: then no dot."""
        await self._ask(Mark(claim, provider))

    async def acquit(self, claim: Claim) -> None:
        """Returns once it is committed that this suspect was prepared without harm. Raises ClaimLost."""
        await self._ask(Acquittal(claim))

    async def pass_on(self, refusal: Settlement) -> None:
        """Have this refusal kept; if it was marked, returns once its mark is taken back, or raises ClaimLost."""
        if refusal.marked:
            await self._ask(PassedOn(refusal))
        else:
            self._entries.put((PassedOn(refusal), None))

    async def _ask(self, request: Request) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._entries.put((request, future))
        await future

    def settle(self, settlement: Settlement) -> None:
        """Have the outcome committed. What the other side answered is in the journal when this returns."""
        if settlement.is_answer:
            self._journal.write(settlement)
        self._entries.put((settlement, None))

    # ── From any thread ───────────────────────────────────────────────────────────────────────

    def put_back(self, claims: Iterable[Claim], *, wait_seconds: float, unmark: bool = False) -> None:
        """Have these jobs given back."""
        for claim in claims:
            self._entries.put((PutBack(claim, wait_seconds, unmark), None))

    # ── The thread ────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Commit groups until stopped and nothing is left. Where it died, a second run goes on."""
        try:
            while not self._is_done():
                self._pulse.tick("recorder")
                if entries := self._gather():
                    self._commit_or_keep(Group(entries))
                else:
                    self._pulse.progress("recorder")
        finally:
            connection.close()

    def stop(self) -> None:
        """Write what is there, then end."""
        self._stopping.set()

    def abandon(self) -> None:
        """PostgreSQL does not come back in time: leave the rest to the rescuer, and to who adopts the journal."""
        self._abandoned.set()

    def _is_done(self) -> bool:
        nothing_left = self._entries.empty() and not self._backlog
        return self._abandoned.is_set() or (self._stopping.is_set() and nothing_left)

    def _gather(self) -> list[Entry]:
        """What was kept, and what has come meanwhile: while PostgreSQL is away, new marks are to fail too."""
        entries, self._backlog = self._backlog, []
        most = len(entries) + LARGEST_GROUP
        try:
            entries = entries or [self._entries.get(timeout=IDLE_SECONDS)]
        except fifo.Empty:
            return []
        while self._gains_from_waiting(len(entries)) and not self._abandoned.wait(LOOK_SECONDS):
            pass
        while len(entries) < most and not self._entries.empty():
            entries.append(self._entries.get_nowait())
        return entries

    def _gains_from_waiting(self, in_hand: int) -> bool:
        under_way = self._under_way()  # nobody else can come
        enough = min(under_way, max(ENOUGH, under_way // 2))
        return in_hand + self._entries.qsize() < enough and time.monotonic() < self._committed_at + GATHER_SECONDS

    def _commit_or_keep(self, group: Group) -> None:
        try:
            self._commit(group)
        except BaseException:
            self._keep(group)
            raise

    def _commit(self, group: Group) -> None:
        try:
            group.commit()
        except Exception as error:  # a value that cannot even be written down, too, is one row's fault
            if is_away(error) or (len(group.entries) == 1 and not is_refused(error)):
                self._wait_for_postgres(group, error)
            else:
                self._split(group, error)
        else:
            self._committed_at = time.monotonic()
            self._pulse.progress("recorder")
            self._answer(group)

    def _answer(self, group: Group) -> None:
        self._on_acquitted([request.claim.token for request, _ in group.entries if isinstance(request, Acquittal)])
        _answer_all([(future, _answer_to(request, group)) for request, future in group.entries if future])
        settled = [request for request, _ in group.entries if isinstance(request, Settlement)]
        for settlement in settled:
            self._on_settled(settlement, group.settled.get(settlement.claim.token))
        over = [request.claim.token for request, _ in group.entries if not isinstance(request, MIDWAY)]
        self._journal.strike(over)
        self._on_over(over)
        queue.remember_sent(
            settlement.claim.dedupe_hash
            for settlement in settled
            if settlement.outcome is Outcome.SENT and settlement.claim.token in group.settled
        )

    def _wait_for_postgres(self, group: Group, error: Exception) -> None:
        """Away, or unable for now."""
        log.warning("postgres_away", error=type(error).__name__, sqlstate=sqlstate(error), kept=len(group.entries))
        self._pulse.trouble("recorder", f"PostgreSQL: {type(error).__name__}")
        connection.close()
        self._keep(group)
        self._abandoned.wait(RETRY_SECONDS)

    def _keep(self, group: Group) -> None:
        """Marks fail at once: no dot. The rest is kept: its guards make a repeated write harmless."""
        marks = [entry for entry in group.entries if isinstance(entry[0], Mark)]
        _answer_all([(future, MarkUncertain()) for _, future in marks if future])
        self._backlog += [entry for entry in group.entries if not isinstance(entry[0], Mark)]

    def _split(self, group: Group, error: Exception) -> None:
        """One row that PostgreSQL will not take must not take the others with it (PROTOCOL trace 15)."""
        if len(group.entries) > 1:
            for half in group.halves():
                self._commit(half)
            return
        request, future = group.entries[0]
        log.error("row_refused", job_id=str(request.claim.job_id), request=type(request).__name__, exc_info=error)
        if not isinstance(request, MIDWAY):
            self._journal.strike([request.claim.token])
            self._on_over([request.claim.token])  # the own sweep gives the job back, by what is marked
        if future:
            _answer_all([(future, MarkUncertain() if isinstance(request, Mark) else error)])


def _answer_to(request: Request, group: Group) -> Exception | None:
    return None if request.claim.token in group.still_ours else ClaimLost()


def _answer_all(answers: Sequence[tuple[asyncio.Future[None], Exception | None]]) -> None:
    """Answer the loop's futures, with one call into the loop."""
    if answers:
        loop = answers[0][0].get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_all, answers)


def _set_all(answers: Sequence[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for future, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
