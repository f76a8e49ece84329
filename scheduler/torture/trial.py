"""One run of one seed: from empty servers to the evidence.

servers → jobs and chaos for the planned time → everything is put right and comes to rest → drain → the books are read
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.torture import fates, faults, plan
from scheduler.torture.chaos import Chaos
from scheduler.torture.clients import Clients
from scheduler.torture.evidence import Audit, Event, Evidence, Fall, Offer, Run
from scheduler.torture.platform import Platform, Process
from scheduler.torture.provider import Provider
from scheduler.torture.witness import Away, Witness

# Short periods, so that minutes hold what takes hours elsewhere. What is on trial is the same.
PERIODS = {
    "LEASE_SECONDS": "5",
    "HEARTBEAT_SECONDS": "1",
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_CAP_SECONDS": "1",
    "PUT_BACK_SECONDS": "0.2",
    "CIRCUIT_OPEN_SECONDS": "0.5",
    "CONNECT_TIMEOUT_SECONDS": "4",
    "COMMAND_TIMEOUT_SECONDS": "5",
    "DOT_TIMEOUT_SECONDS": "8",  # the slowest planned answer takes 3
    "DRAIN_SECONDS": "15",
    "MAX_ATTEMPTS": "40",  # so that no planned series of refusals is a death, unless it was planned as one
    "ACCESS_TOKEN_MINUTES": "1",  # so that clients meet the end of a token, too
    "SIGNUP_OPEN": "true",
    "ALLOWED_SENDERS": f"@{plan.DOMAIN}",
}
CONNECTIONS = 8  # of one worker to the SMTP server
LOOK_SECONDS = 0.2
COUNT_SECONDS = 1.0
REVIVE_SECONDS = 2.0  # a process that falls again and again is not started more often
QUIET_SECONDS = float(PERIODS["DOT_TIMEOUT_SECONDS"]) + fates.SLOWEST_SECONDS  # the last late answer has come by then
STILL_SECONDS = 60.0  # nothing moves for so long: what has not arrived never will
LONGEST_REST_SECONDS = 900.0
CLOCK_STEP_SECONDS = 0.02
WORDS_LINES = 4  # of what a process that fell has said last


class ClockWasSet(Exception):
    """This machine's clock was set during the run, so that its times cannot be compared. Run it again."""


@dataclass
class Scene:
    """What there is to see of a run while it lasts."""

    seed: int
    phase: str = ""
    began: float = 0.0  # time.monotonic() of the first job; 0 while there is nothing to count
    seconds: float = 0.0  # for how long jobs come in
    offered: int = 0
    accepted: int = 0
    standing: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    dots: int = 0
    kills: int = 0
    unsettled: int | None = None


class Trial:
    """`run()` once. `watch` is called several times a second and may raise to leave; everything is ended then, too."""

    def __init__(
        self,
        wish: plan.Wish,
        folder: Path,
        *,
        show: Callable[[Scene], None],
        tell: Callable[[Event], None],
        watch: Callable[[], None],
    ) -> None:
        self._wish = wish
        self._plan = plan.make_plan(wish)
        self._provider = Provider(seed=wish.seed, fates=self._plan.fates, faults=wish.faults, texts=self._plan.texts)
        self._platform = Platform(
            folder,
            env=dict(PERIODS),
            apis=wish.apis,
            workers=wish.workers,
            schedulers=wish.schedulers,
            watch=watch,
        )
        self._clients = Clients(self._plan, self._platform.api_urls)
        self._chaos = Chaos(self._platform, self._provider, self._plan.strikes, told=tell)
        self._show = show
        self._watch = watch
        self._scene = Scene(wish.seed, seconds=self._plan.seconds, offered=len(self._plan.jobs))
        self._falls: list[Fall] = []
        self._counted_at = 0.0
        self._witness = Witness(lambda: self._platform.database_url)

    def run(self) -> Evidence:
        """CannotStart when this machine cannot run it, ClockWasSet when it cannot be judged."""
        started = time.monotonic()
        with ExitStack() as ends:
            for end in (self._provider.stop, self._platform.stop, self._witness.close, self._clients.stop):
                ends.callback(end)
            ends.callback(self._chaos.stop)  # first
            self._set_up()
            began_at, clock = time.time(), time.time() - time.monotonic()
            self._storm()
            self._come_to_rest()
            self._drain()
            if abs(time.time() - time.monotonic() - clock) > CLOCK_STEP_SECONDS:
                raise ClockWasSet(ClockWasSet.__doc__)
            return self._gather(began_at, clock, took_seconds=time.monotonic() - started)

    # ── The steps ─────────────────────────────────────────────────────────────────────────────

    def _set_up(self) -> None:
        self._enter("starting PostgreSQL and Valkey")
        self._provider.start()
        # So few connections that messages wait for them, and travel behind each other's dots (decision 0006). What one
        # provider provably did not take goes by the next, which is the same server: its book has both (trace 12).
        server = f"smtp://127.0.0.1:{self._provider.port}?connections={CONNECTIONS}"
        self._platform.env["EMAIL_PROVIDERS"] = f"main={server}&then=second,second={server}"
        self._platform.start_servers()
        self._enter("migrating")
        self._platform.migrate()
        self._witness.install()
        self._enter("starting the processes")
        self._platform.start_processes()

    def _storm(self) -> None:
        self._enter("jobs come in, things break")
        self._scene.began = time.monotonic()
        self._clients.start()
        self._chaos.start()
        while not (self._clients.is_done and self._chaos.is_over):
            self._look()
            for error in (*self._chaos.errors, self._clients.error):
                if error is not None:
                    raise error

    def _come_to_rest(self) -> None:
        """Until nothing is on its way and nothing has moved for a while; or nothing moves although something is."""
        self._enter("all is well again; the rest arrives")
        last, moved, deadline = -1, time.monotonic(), time.monotonic() + LONGEST_REST_SECONDS
        while time.monotonic() < deadline:
            self._look()
            try:
                now, self._scene.unsettled = self._witness.last(), self._witness.unsettled()
            except Away:
                continue
            if now != last:
                last, moved = now, time.monotonic()
            still = time.monotonic() - moved
            if still > (STILL_SECONDS if self._scene.unsettled else QUIET_SECONDS):
                return

    def _drain(self) -> None:
        self._scene.began = 0.0
        self._enter("draining")
        self._platform.drain()
        for process in self._platform.processes:
            if process.child.returncode != 0:
                self._falls.append(Fall(str(process), time.time(), f"told to end: {_last_words(process)}"))

    def _gather(self, began_at: float, clock: float, *, took_seconds: float) -> Evidence:
        self._enter("reading the books")
        wish, witness = self._wish, self._witness
        return Evidence(
            run=Run(
                wish.seed,
                wish.jobs,
                wish.minutes,
                wish.workers,
                wish.schedulers,
                faults.told(wish.faults),
                PERIODS,
            ),
            offers=[Offer(job.number, job.recipient, job.group, job.key) for job in self._plan.jobs],
            answers=self._clients.answers,
            losses=self._clients.losses,
            complaints=self._clients.complaints,
            refusals=self._clients.refusals,
            statuses=dict(self._clients.statuses),
            mails=self._provider.mails(clock=clock),
            deeds=self._provider.deeds(clock=clock),
            rows=witness.rows(),
            deliveries=witness.deliveries(),
            attempts=witness.attempts(),
            decisions=witness.decisions(),
            moves=witness.moves(),
            steps=witness.steps(),
            hands=witness.hands(),
            beats=witness.beats(),
            events=self._chaos.events,
            falls=self._falls,
            audit=self._audit(),
            began_at=began_at,
            ended_at=time.time(),
            took_seconds=took_seconds,
        )

    def _audit(self) -> Audit:
        code, said = self._platform.ask_manage("audit")
        return Audit(holds=code == 0, words=said.strip())

    # ── While it lasts ────────────────────────────────────────────────────────────────────────

    def _enter(self, phase: str) -> None:
        self._watch()
        self._scene.phase = phase
        self._show(self._scene)

    def _look(self) -> None:
        """Look after the processes, count, show, and wait a moment."""
        self._watch()
        self._look_after_processes()
        if time.monotonic() - self._counted_at >= COUNT_SECONDS:
            self._count()
        self._show(self._scene)
        time.sleep(LOOK_SECONDS)

    def _look_after_processes(self) -> None:
        for process in self._platform.fallen():
            if time.monotonic() - process.started_at > REVIVE_SECONDS:
                self._falls.append(Fall(str(process), time.time(), _last_words(process)))
                process.revive()

    def _count(self) -> None:
        self._counted_at = time.monotonic()
        self._scene.accepted = len({answer.job for answer in self._clients.answers})
        self._scene.kept, self._scene.dots = self._provider.counts()
        self._scene.kills = sum(event.fault.startswith("kill-worker") for event in self._chaos.events)
        with suppress(Away):
            self._scene.standing = self._witness.standing()


def _last_words(process: Process) -> str:
    lines = process.child.last_lines(count=WORDS_LINES)
    code = process.child.returncode
    return f"{'still running' if code is None else f'exit status {code}'}:\n{lines}"
