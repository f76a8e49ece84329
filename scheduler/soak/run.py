"""One run: from empty servers to the outcome.

servers → posts, restarts and samples for the asked time → what waits arrives → drain → the books are read
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from scheduler.embedded.child import Child, free_port, is_port_free
from scheduler.soak import sink
from scheduler.soak.balance import balance, read_rows
from scheduler.soak.load import Load
from scheduler.soak.outcome import Outcome, Posts
from scheduler.soak.restarts import Restarts
from scheduler.soak.sampler import Sampler
from scheduler.soak.samples import Sample
from scheduler.soak.wish import Wish
from scheduler.torture.platform import BOOT_SECONDS, ROOT, Platform, Role

SCHEDULERS = 2
LOOK_SECONDS = 0.2
REVIVE_SECONDS = 2.0
REST_SECONDS = 120.0  # nothing that is not stuck takes longer to arrive; after a kill it waits for the lease, too
WORDS_LINES = 4  # of what a process that fell has said last
LAG = """
SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at))
FROM jobs_job WHERE finished_at > (SELECT min(created_at) FROM jobs_job) + %s * interval '1 second'
"""


def environment(wish: Wish, smtp_port: int) -> dict[str, str]:
    """What is not at its default here, and why is told in the output."""
    return {
        "EMAIL_PROVIDERS": f"main=smtp://127.0.0.1:{smtp_port}",
        "GATE_TTL_SECONDS": str(wish.ttl_seconds),
        "ACCESS_TOKEN_MINUTES": "5",  # so that clients meet the end of a token, too
        "SIGNUP_OPEN": "true",
        "LOG_LEVEL": "WARNING",
        "DEBUG": "false",  # with it, Django remembers its queries: thousands of them in each thread
    }


@dataclass
class Scene:
    """What there is to see of a run while it lasts."""

    wish: Wish
    phase: str = ""
    began: float = 0.0  # time.monotonic() of the first post
    sample: Sample | None = None
    before: Sample | None = None
    restarts: int = 0


class Run:
    """`run()` once. `watch` is called several times a second and may raise to leave; everything is ended then, too."""

    def __init__(self, wish: Wish, folder: Path, *, show: Callable[[Scene], None], watch: Callable[[], None]) -> None:
        self._wish, self._show, self._watch = wish, show, watch
        self._port = free_port()
        self._tally = folder / "tally"
        self._server = Child(
            "SMTP server",
            [sys.executable, "-m", sink.__name__, "--port", str(self._port), "--tally", self._tally],
            log=folder / "logs" / "smtp.log",
            cwd=ROOT,
        )
        self._platform = Platform(
            folder,
            env=environment(wish, self._port),
            apis=wish.apis,
            workers=wish.workers,
            schedulers=SCHEDULERS,
            watch=watch,
        )
        self._load = Load(self._platform.api_urls, rate=wish.rate, seconds=wish.seconds, seed=wish.seed)
        self._restarts = Restarts(self._platform.of(Role.WORKER), every=wish.restart_every, kill=wish.kill)
        self._sampler: Sampler | None = None
        self._samples: list[Sample] = []
        self._falls: list[str] = []
        self._scene = Scene(wish)

    def run(self) -> Outcome:
        """CannotStart when this machine cannot run it."""
        try:
            self._set_up()
            self._soak()
            self._come_to_rest()
            lag = self._whole_lag()
            self._enter("draining")
            self._platform.drain()
            return self._gather(lag)
        finally:
            self._tear_down()

    # ── The steps ─────────────────────────────────────────────────────────────────────────────

    def _set_up(self) -> None:
        self._enter("starting PostgreSQL and Valkey")
        self._server.start()
        self._platform.start_servers()
        self._enter("migrating")
        self._platform.migrate()
        self._enter("starting the processes")
        self._platform.start_processes()
        self._server.wait_until(lambda: not is_port_free(self._port), within=BOOT_SECONDS, watch=self._watch)
        self._load.sign_in()
        self._sampler = Sampler(self._platform, self._load, server_pid=self._server.pid, tally=self._tally)

    def _soak(self) -> None:
        self._enter("under load")
        self._scene.began = time.monotonic()
        self.sampler.begin()
        self._load.start()
        self._restarts.start()
        due = self._scene.began
        while not self._load.is_done:
            if time.monotonic() >= due:
                self._sample()
                due += self._wish.sample_seconds
            self._look()
        self._restarts.stop()

    def _come_to_rest(self) -> None:
        self._enter("what still waits arrives")
        deadline = time.monotonic() + REST_SECONDS
        while self.sampler.backlog() and time.monotonic() < deadline:
            self._look()
        self._sample()

    def _whole_lag(self) -> tuple[float, float, float]:
        with psycopg.connect(self._platform.database_url) as connection:
            row = connection.execute(LAG, [self._wish.warm_up_seconds]).fetchone()
        p50, p99, most = (row and row[0]) or (0.0, 0.0, 0.0)
        return float(p50), float(p99), float(most)

    def _gather(self, lag: tuple[float, float, float]) -> Outcome:
        self._enter("reading the books")
        code, said = self._platform.ask_manage("audit", within=BOOT_SECONDS * 5)
        load = self._load
        return Outcome(
            wish=self._wish,
            samples=self._samples,
            restarts=self._restarts.done,
            falls=self._falls,
            posts=Posts(dict(load.statuses), sorted(load.answer_seconds), sorted(load.late_seconds), load.missed),
            balance=balance(bytes(load.accepted_ids), read_rows(self._platform.database_url), sink.read(self._tally)),
            audit_holds=code == 0,
            audit_words=said.strip(),
            lag=lag,
            processors=psutil.cpu_count() or 1,
        )

    def _tear_down(self) -> None:
        self._load.ask_to_stop()
        self._restarts.ask_to_stop()
        for process in self._platform.processes:
            process.kill()  # so that nobody drains or answers any more, and we need not wait for it
        self._load.stop()
        self._restarts.stop()
        if self._sampler is not None:
            self._sampler.close()
        self._platform.stop()
        self._server.stop()

    # ── While it lasts ────────────────────────────────────────────────────────────────────────

    @property
    def sampler(self) -> Sampler:
        assert self._sampler is not None, "there is nothing to sample before the platform runs"
        return self._sampler

    def _enter(self, phase: str) -> None:
        self._watch()
        self._scene.phase = phase
        self._show(self._scene)

    def _sample(self) -> None:
        self._samples.append(self.sampler.sample())
        self._scene.before, self._scene.sample = self._scene.sample, self._samples[-1]

    def _look(self) -> None:
        self._watch()
        for error in (self._load.error, self._restarts.error):
            if error is not None:
                raise error
        for process in self._platform.fallen():
            if time.monotonic() - process.started_at > REVIVE_SECONDS:
                lines = process.child.last_lines(count=WORDS_LINES)
                self._falls.append(f"{process}, exit status {process.child.returncode}:\n{lines}")
                process.revive()
        self._scene.restarts = len(self._restarts.done)
        self._show(self._scene)
        time.sleep(LOOK_SECONDS)
