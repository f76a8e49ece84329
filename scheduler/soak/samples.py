"""What is seen of the platform at one moment. Times in seconds since the run began, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProcessSample:
    """One process; `pid` tells a process from the one that stood in its place before."""

    name: str
    pid: int
    age: float  # seconds
    rss: int
    uss: int  # what only this process has: it would be free without it
    cpu_seconds: float
    files: int
    threads: int
    to_postgres: int  # connections
    to_redis: int


@dataclass(frozen=True)
class Lag:
    """From acceptance to the final state, in seconds, of the jobs that came to it since the last sample."""

    count: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Sample:
    """Everything at one moment."""

    at: float
    posted: int
    accepted: int
    at_server: int  # mails that the SMTP server has kept
    waiting: dict[str, int]  # jobs by status, those that are still to move
    unknown: int
    dead: int
    lag: Lag
    lists: dict[str, int]  # how long each list in Redis is
    redis_keys: int
    redis_bytes: int
    connections: int  # to PostgreSQL, but for our own
    tables: dict[str, int]  # with indexes
    machine_busy: float  # share of all its processors, since the last sample
    processes: list[ProcessSample] = field(default_factory=list)

    @property
    def backlog(self) -> int:
        return sum(self.waiting.values())
