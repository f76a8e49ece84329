"""Who runs beside whom: how each lays jobs ready, and how each works them off."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import PEERS_PYTHON, ROOT, Ground
from benchmarks.rounds import OURS

GATED = " + hand-written gate"
UNDER_WAY = ("queued", "running", "scheduled", "unknown")
# Through the partial indexes of what is under way: among millions of jobs a look at all would be the load.
UNSETTLED = "SELECT " + " + ".join(f"(SELECT count(*) FROM jobs_job WHERE status = '{word}')" for word in UNDER_WAY)


@dataclass(frozen=True)
class Place:
    """Where one round happens."""

    ground: Ground
    database: str
    smtp_port: int
    folder: Path  # where who works notes what is done
    connections: int | None = None  # most of ours to the sink, unless it is the default

    @property
    def env(self) -> dict[str, str]:
        """For a peer's processes, and for ours."""
        return self.ground.our_env(self.database, smtp_port=self.smtp_port, connections=self.connections) | {
            "BENCH_REDIS_URL": self.ground.redis.url(1),
            "BENCH_DATABASE_URL": self.ground.postgres.url(self.database),
            "BENCH_SMTP_PORT": str(self.smtp_port),
            "BENCH_FOLDER": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "dramatiq_queue_prefetch": str(128),  # its documentation: raise it for short tasks
        }


@dataclass(frozen=True)
class Contender:
    """One system in one configuration, doing one kind of job."""

    name: str
    task: str  # nothing, nothing_keyed (ours), send, send_gated
    lay: tuple[str, ...]  # the program that lays jobs ready; task and count follow
    work: tuple[str, ...]
    unsettled: str | None = None  # SQL: how many jobs its tables have that are not written down as done
    is_ours: bool = False

    def lay_jobs(self, place: Place, count: int) -> None:
        place.ground.finish(f"{self.name}, enqueue", [*self.lay, self.task, str(count)], env=place.env)


def _peer(name: str, program: str, task: str, *work: str, unsettled: str | None = None) -> Contender:
    module = f"benchmarks.peers.{program}"
    lay = (str(PEERS_PYTHON), "-m", module, "enqueue")
    return Contender(name, task, lay, (str(PEERS_PYTHON), "-m", *(work or (module, "work"))), unsettled)


def ours(task: str, *, processes: int | None = None) -> Contender:
    """A process for each processor, unless so many are asked for. What waits for nobody is worked off in larger steps
    (`--concurrency`): pgqueuer, too, takes and writes down hundreds at once."""
    nothing = ("-m", "benchmarks.ours.worker", "--concurrency", "1024")
    work = nothing if task.startswith("nothing") else ("manage.py", "run_worker")
    return Contender(
        OURS,
        task,
        (sys.executable, "-m", "benchmarks.ours.preload"),
        (sys.executable, *work, "--processes", str(processes or _cores())),
        unsettled=UNSETTLED,
        is_ours=True,
    )


def celery(task: str) -> Contender:
    """Two processes on two processors for what computes; more of them where each waits for servers."""
    processes = str(_cores() if task == "nothing" else 4 * _cores())
    return _peer(
        f"Celery{_gated(task)}",
        "celery_peer",
        task,
        *("celery", "-A", "benchmarks.peers.celery_peer", "worker", "--pool", "prefork", "--concurrency", processes),
        *("--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    )


def dramatiq(task: str) -> Contender:
    return _peer(
        f"Dramatiq{_gated(task)}",
        "dramatiq_peer",
        task,
        *("dramatiq", "benchmarks.peers.dramatiq_peer", "--processes", str(_cores()), "--threads", "8"),
    )


def pgqueuer(task: str) -> Contender:
    return _peer("pgqueuer", "pgqueuer_peer", task, unsettled="SELECT count(*) FROM pgqueuer")


def procrastinate(task: str) -> Contender:
    return _peer("Procrastinate", "procrastinate_peer", task, unsettled="SELECT count(*) FROM procrastinate_jobs")


def _gated(task: str) -> str:
    return GATED if task == "send_gated" else ""


def _cores() -> int:
    return len(os.sched_getaffinity(0))
