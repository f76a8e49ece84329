"""Looks at the platform from outside: at its processes through the system, at PostgreSQL and Redis by asking them.

It uses no code of the platform, and what it asks costs them milliseconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
from redis import Redis

from scheduler.soak import sink
from scheduler.soak.load import Load
from scheduler.soak.samples import Lag, ProcessSample, Sample
from scheduler.torture.platform import Platform, Role

APPLICATION = "soak"
# One count for each status, because each has its own small index: the table itself is large.
STANDING = """
SELECT (SELECT count(*) FROM jobs_job WHERE status = 'scheduled'),
       (SELECT count(*) FROM jobs_job WHERE status = 'queued'),
       (SELECT count(*) FROM jobs_job WHERE status = 'running'),
       (SELECT count(*) FROM jobs_job WHERE status = 'unknown'),
       (SELECT count(*) FROM jobs_deadletter WHERE resolution IS NULL AND reason <> 'unknown')
"""
LAG = """
SELECT now(), count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (
    ORDER BY extract(epoch FROM finished_at - created_at))
FROM jobs_job WHERE finished_at > %s AND finished_at <= now()
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> %s
"""
TABLES = """
SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relname LIKE 'jobs\\_%' ORDER BY relname
"""
LISTS = "*:queue:*"


class Sampler:
    """`sample()` as often as one likes."""

    def __init__(self, platform: Platform, load: Load, *, server_pid: int, tally: Path) -> None:
        self._platform, self._load, self._tally = platform, load, tally
        self._watched: dict[int, psutil.Process] = {}
        self._server_pid = server_pid
        self._postgres = psycopg.connect(platform.database_url, autocommit=True, application_name=APPLICATION)
        self._postgres.execute("SET enable_seqscan = off")
        self._redis = Redis.from_url(platform.redis.url())
        self._finished_since = self._now()
        self._began = time.monotonic()
        psutil.cpu_percent()

    def begin(self) -> None:
        """Times count from here."""
        self._began = time.monotonic()

    def close(self) -> None:
        self._postgres.close()
        self._redis.close()

    def backlog(self) -> int:
        return sum(self._standing()[:3])

    def sample(self) -> Sample:
        scheduled, queued, running, unknown, dead = self._standing()
        return Sample(
            at=time.monotonic() - self._began,
            posted=self._load.posted,
            accepted=self._load.accepted,
            at_server=sink.count(self._tally),
            waiting={"scheduled": scheduled, "queued": queued, "running": running},
            unknown=unknown,
            dead=dead,
            lag=self._lag(),
            lists=self._lists(),
            redis_keys=int(self._redis.dbsize()),
            redis_bytes=self._redis_bytes(),
            connections=self._ask(CONNECTIONS, APPLICATION)[0][0],
            tables=dict(self._ask(TABLES)),
            machine_busy=psutil.cpu_percent() / 100,
            processes=list(self._processes()),
        )

    # ── Asked ─────────────────────────────────────────────────────────────────────────────────

    def _ask(self, statement: str, *parameters: Any) -> list[Any]:
        return self._postgres.execute(statement, parameters or None).fetchall()

    def _now(self) -> datetime:
        now: datetime = self._ask("SELECT now()")[0][0]
        return now

    def _standing(self) -> tuple[int, ...]:
        return tuple(self._ask(STANDING)[0])

    def _lag(self) -> Lag:
        now, count, quantiles = self._ask(LAG, self._finished_since)[0]
        self._finished_since = now
        return Lag(count, *(float(value) for value in quantiles)) if count else Lag(0, 0.0, 0.0)

    def _lists(self) -> dict[str, int]:
        names = self._redis.scan_iter(match=LISTS, count=10_000, _type="list")
        return {name.decode().rpartition(":")[2]: int(self._redis.llen(name)) for name in names}

    def _redis_bytes(self) -> int:
        information: Mapping[str, Any] = self._redis.info("memory")
        return int(information["used_memory"])

    # ── Seen ──────────────────────────────────────────────────────────────────────────────────

    def _processes(self) -> Iterator[ProcessSample]:
        for name, pid in self._named():
            with contextlib.suppress(psutil.NoSuchProcess):  # it is being restarted just now
                yield self._see(name, self._known(pid))
        yield self._see_postgres()

    def _named(self) -> Iterator[tuple[str, int]]:
        for process in self._platform.processes:
            if process.is_running:
                yield str(process) + (" parent" if process.role is Role.API else ""), process.pid
            if process.role is Role.API:
                yield from ((str(process), pid) for pid in self._children(process.pid))
        yield "Valkey", self._platform.redis.child.pid
        yield "SMTP server", self._server_pid
        yield "load and soak", psutil.Process().pid

    def _children(self, pid: int) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _known(self, pid: int) -> psutil.Process:
        known = self._watched.get(pid)
        if known is None or not known.is_running():
            known = self._watched[pid] = psutil.Process(pid)
        return known

    def _see(self, name: str, process: psutil.Process) -> ProcessSample:
        with process.oneshot():
            memory, times = process.memory_full_info(), process.cpu_times()
            ports = [c.raddr.port for c in process.net_connections("tcp") if c.raddr and c.status == "ESTABLISHED"]
            return ProcessSample(
                name=name,
                pid=process.pid,
                age=time.time() - process.create_time(),
                rss=memory.rss,
                uss=memory.uss,
                cpu_seconds=times.user + times.system,
                files=process.num_fds(),
                threads=process.num_threads(),
                to_postgres=ports.count(self._platform.postgres.port),
                to_redis=ports.count(self._platform.redis.port),
            )

    def _see_postgres(self) -> ProcessSample:
        """All of its processes together. RSS would count what they share once for each, so it is the PSS here, where
        the system tells it: each one's part of what is shared."""
        leader = psutil.Process(self._platform.postgres.pid)
        ended = leader.cpu_times()
        seen = []
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append((process.memory_full_info(), process.cpu_times(), process.num_fds()))
        return ProcessSample(
            name="PostgreSQL",
            pid=leader.pid,
            age=time.time() - leader.create_time(),
            rss=sum(getattr(memory, "pss", memory.uss) for memory, _, _ in seen),
            uss=sum(memory.uss for memory, _, _ in seen),
            cpu_seconds=sum(times.user + times.system for _, times, _ in seen)
            + (ended.children_user + ended.children_system),
            files=sum(files for _, _, files in seen),
            threads=len(seen),
            to_postgres=0,
            to_redis=0,
        )
