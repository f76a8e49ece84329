"""How soon things went on: jobs whose worker was killed, and everybody after PostgreSQL or Redis had been away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from scheduler.torture.books import Books, Outage
from scheduler.torture.faults import Fault

GRACE_SECONDS = 2.0  # beyond the lease: the figure to reach
BACK_SECONDS = 2.0  # after a server's return, likewise
LONGEST_SECONDS = 10.0  # a 5xx later than this has another reason
TRIALS_SECONDS = 10.0  # what a lost worker had in hand is tried alone, once its lease is over (decision 0003)


@dataclass(frozen=True)
class Times:
    """Seconds, sorted."""

    values: Sequence[float]

    @classmethod
    def of(cls, values: Iterable[float]) -> Times:
        return cls(sorted(values))

    def quantile(self, share: float) -> float | None:
        """The smallest value that so many are not above; None when there are none."""
        return self.values[ceil(share * len(self.values)) - 1] if self.values else None

    @property
    def most(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Recovery:
    """Of jobs that ran in a worker when it was killed: until they ran no more.

    While PostgreSQL is away nothing can be rescued, so that time does not count. After a long outage a rescuer has to
    convince itself anew that a worker is silent: where one came between, the time counts from PostgreSQL's return, and
    the job stands under `after_an_outage`.
    """

    plain: Times
    after_an_outage: Times


def recovery(books: Books) -> Recovery:
    plain, late = [], []
    for killed, left in _rescues(books):
        returns = [back for away, back in books.outages(Fault.POSTGRES_AWAY) if away < left and back > killed]
        if returns:
            late.append(max(0.0, left - max(returns)))
        else:
            plain.append(left - killed - _away(books, killed, left))
    return Recovery(Times.of(plain), Times.of(late))


def _away(books: Books, begin: float, end: float) -> float:
    """For how long PostgreSQL was restarting in that time."""
    restarts = books.outages(Fault.RESTART_POSTGRES)
    return sum(max(0.0, min(back, end) - max(away, begin)) for away, back in restarts)


def _rescues(books: Books) -> Iterable[tuple[float, float]]:
    """(killed at, left `running` at) for each job that ran under a killed worker."""
    for moves in books.moves.values():
        for move, following in pairwise(moves):
            killing = books.killing_of(move.worker) if move.new == "running" else None
            if killing is not None and move.at <= killing.at < following.at:
                yield killing.at, following.at


# ── After an outage of a server ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Returns:
    """From a server's return …"""

    complaint: Times  # to the last 5xx of an API, for each outage in which there were any
    claim: Times  # to the first claim, where jobs were queued
    claim_amid_trials: Times  # likewise, where workers had lately been lost; this tells more of that
    chore: Times  # to the first promotion, where jobs were overdue
    beat: Times  # to the first heartbeat of each worker that was up


def returns(books: Books, *faults: Fault) -> Returns:
    """Returns into another outage tell nothing, and are left out."""
    outages = [outage for outage in books.outages(*faults) if not _is_disturbed(books, outage)]
    amid_trials = [outage for outage in outages if _has_suspects(books, outage)]
    calm = [outage for outage in outages if outage not in amid_trials]
    return Returns(
        complaint=Times.of(wait for outage in outages for wait in _complaints(books, outage)),
        claim=_first(books, calm, "queued", "running", patience=0.0),
        claim_amid_trials=_first(books, amid_trials, "queued", "running", patience=0.0),
        chore=_first(books, outages, "scheduled", "queued", patience=_longest_wait(books)),
        beat=Times.of(wait for outage in outages for wait in _beats(books, outage)),
    )


def _is_disturbed(books: Books, outage: Outage) -> bool:
    others = books.outages(Fault.RESTART_POSTGRES, Fault.POSTGRES_AWAY, Fault.KILL_REDIS)
    _, back = outage
    return any(away < back + BACK_SECONDS and again > back for away, again in others)


def _has_suspects(books: Books, outage: Outage) -> bool:
    _, back = outage
    tried_until = float(books.evidence.run.periods.get("LEASE_SECONDS", "0")) + TRIALS_SECONDS
    losses = [e.at for e in books.evidence.events if e.fault in (Fault.KILL_WORKER, Fault.PAUSE_WORKER)]
    return any(lost < back + BACK_SECONDS and back < lost + tried_until for lost in losses)


def _complaints(books: Books, outage: Outage) -> Iterable[float]:
    away, back = outage
    others = books.outages(Fault.RESTART_POSTGRES, Fault.POSTGRES_AWAY)
    end = min([back + LONGEST_SECONDS, *(other for other, _ in others if other > back)])
    for api in {complaint.api for complaint in books.evidence.complaints}:
        heard = [c.at for c in books.evidence.complaints if c.api == api and away <= c.at < end]
        if heard:
            yield max(0.0, max(heard) - back)


def _first(books: Books, outages: Iterable[Outage], old: str, new: str, *, patience: float) -> Times:
    """How long the first move took, where some job had stood there for so long that it was to be moved."""
    times = sorted(move.at for move in books.evidence.moves if (move.old, move.new) == (old, new))
    waits = [
        first - back
        for _, back in outages
        if _some_stand(books, old, since=back - patience, at=back)
        and (first := next((at for at in times if at > back), None)) is not None
    ]
    return Times.of(waits)


def _some_stand(books: Books, status: str, *, since: float, at: float) -> bool:
    for moves in books.moves.values():
        last = next((move for move in reversed(moves) if move.at <= at), None)
        if last is None or last.new != status or last.at > since:
            continue
        if status == "queued" or last.claim is not None:  # one that never ran may be due much later
            return True
    return False


def _longest_wait(books: Books) -> float:
    """Between two attempts: the cap and its jitter."""
    return 1.5 * float(books.evidence.run.periods.get("RETRY_CAP_SECONDS", "0"))


def _beats(books: Books, outage: Outage) -> Iterable[float]:
    away, back = outage
    by_worker: dict[str, list[float]] = defaultdict(list)
    for beat in books.evidence.beats:
        by_worker[beat.worker].append(beat.at)
    for worker, beats in by_worker.items():
        first = next((at for at in beats if at > back), None)
        if first is not None and beats[0] < away and not _was_struck(books, worker, back, first):
            yield first - back


def _was_struck(books: Books, worker: str, begin: float, end: float) -> bool:
    """It was paused around then: that it was slow has another reason."""
    pids = {hand.pid for hand in books.evidence.hands if hand.worker == worker}
    return any(e.pid in pids and e.at < end and (e.over_at or end) > begin for e in books.evidence.events)
