"""A recorder that runs in its thread, as in a worker; and metrics before and after."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from django.db import OperationalError

from jobs.claims import Claim
from jobs.conf import tunables
from jobs.settlements import Settlement
from jobs.states import Status
from tests.jobs.transitions import builders as build
from workers import reports
from workers.channels.base import Channel
from workers.delivery import Delivery
from workers.group import Group
from workers.journal import Journal
from workers.providers import endpoints
from workers.pulse import Pulse
from workers.rate_limit import Limits
from workers.recorder import Recorder
from workers.routes import Routes


def routes() -> Routes:
    """Of a fresh worker process, by the environment."""
    return Routes(Limits(endpoints(), tunables()))


def a_trip(
    recorder: Recorder, claim: Claim, channel: Channel, *, ways: Routes | None = None, kind: Any = Delivery
) -> Any:
    """Not yet under way."""
    return kind(
        claim,
        worker=build.WORKER,
        channels={"email": channel},
        recorder=recorder,
        routes=ways or routes(),
        conf=tunables(),
    )


class RunningRecorder(Recorder):
    """Starts when told to: what was asked before that is one group."""

    def __init__(self, folder: Path) -> None:
        self.over: list[int] = []
        self.acquitted: list[int] = []
        self.told: dict[int, Status | None] = {}
        self.pulse = Pulse()
        self.journals = folder
        self.journal = Journal(folder, UUID(int=1))
        self.trips = 0  # nobody else is expected
        super().__init__(
            journal=self.journal,
            pulse=self.pulse,
            under_way=lambda: self.trips,
            on_over=self.over.extend,
            on_acquitted=self.acquitted.extend,
            on_settled=self._tell,
        )
        self.thread = threading.Thread(target=self.run, name="recorder")

    def _tell(self, settlement: Settlement, status: Status | None) -> None:
        self.told[settlement.claim.token] = status
        reports.settled(settlement, status)

    def start(self) -> None:
        self.thread.start()

    async def settled(self, settlement: Settlement) -> Status | None:
        """What became of the job; None, too, when nothing could be written."""
        self.settle(settlement)
        await self.written(settlement.claim)
        return self.told.get(settlement.claim.token)

    async def returned(self, claim: Claim, **how: Any) -> None:
        """It was put back."""
        self.put_back([claim], **how)
        await self.written(claim)

    async def written(self, claim: Claim) -> None:
        """Its trip is over, and PostgreSQL has it."""
        await when(lambda: claim.token in self.over)

    def finish(self) -> None:
        """Stop, and wait until everything is written."""
        self.stop()
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def together(self, *asked: Coroutine[Any, Any, Any]) -> list[Any]:
        """What each of these is answered, or the error raised to it, asked for in one group."""

        async def ask() -> list[Any]:
            tasks = [asyncio.create_task(coroutine) for coroutine in asked]
            await asyncio.sleep(0)
            self.start()
            return await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run(ask())

    def one_by_one(self, *asked: Coroutine[Any, Any, Any]) -> list[Any]:
        """The same, each after the answer to the one before."""

        async def ask() -> list[Any]:
            return [(await asyncio.gather(one, return_exceptions=True))[0] for one in asked]

        if not self.thread.is_alive():
            self.start()
        return asyncio.run(ask())


@pytest.fixture
def recorder(
    no_thread_stays: None, committed: None, bell: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningRecorder]:
    monkeypatch.setattr("workers.recorder.IDLE_SECONDS", 0.02)
    recorder = RunningRecorder(tmp_path / "journal")
    yield recorder
    recorder.stop()
    recorder.abandon()
    if recorder.thread.ident:
        recorder.thread.join(timeout=10)
    recorder.journal.close()


@pytest.fixture
def lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's first group is committed, but PostgreSQL's answer never arrives."""
    commit, lost = Group.commit, []

    def commit_and_lose(group: Group) -> None:
        commit(group)
        if not lost:
            lost.append(group)
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Group, "commit", commit_and_lose)


async def when(condition: Callable[[], Any], *, within: float = 10.0) -> Any:
    """As `until`, while the loop goes on."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {condition}"
        await asyncio.sleep(0.002)
    return answer


async def outcome_of(asked: Awaitable[Any]) -> Any:
    return (await asyncio.gather(asked, return_exceptions=True))[0]
