"""A Sendonce of real processes for one journey, ended for certain when it is over."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import Error as DatabaseError

from jobs import intake, requests
from jobs.models import Attempt, Job, Worker
from jobs.states import Status
from scheduler.embedded.child import Child, free_port
from scheduler.embedded.faulty_smtp import FaultySmtp
from scheduler.embedded.guardian import is_running
from tests.journeys import books

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0
SERVER = "-m scheduler.server --threads 4 --processes 1 --bind"

ENVIRONMENT = {
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "INFO",
    "RETRY_BASE_SECONDS": "0.1",
    "RETRY_CAP_SECONDS": "0.5",
    "PUT_BACK_SECONDS": "0.1",
    "HEARTBEAT_SECONDS": "0.4",
    "CONNECT_TIMEOUT_SECONDS": "5",
    "COMMAND_TIMEOUT_SECONDS": "60",
    "PYTHONUNBUFFERED": "1",
}
SHORT_LEASE_SECONDS = 2.5  # half of it must stay above the second in which an idle thread ticks


class Platform:
    """Starts and kills the processes, lets jobs in, and waits for conditions."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        redis_url: str,
        smtp: FaultySmtp,
        owner: User,
        temporary: Path,
    ) -> None:
        self.smtp = smtp
        self.owner = owner
        self.env: dict[str, str] = {
            **ENVIRONMENT,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "EMAIL_PROVIDERS": f"main=smtp://127.0.0.1:{smtp.port}",
            "TMPDIR": str(temporary),
            "JOURNAL_DIR": str(folder / "journal"),
        }
        self._logs = folder / "logs"
        self._children: list[Child] = []
        self._clients: list[httpx.Client] = []
        self._node_pids: set[int] = set()

    # ── Processes ─────────────────────────────────────────────────────────────────────────────

    def shorten_lease(self, seconds: float = SHORT_LEASE_SECONDS) -> None:
        """For the processes that are started from now on."""
        self.env["LEASE_SECONDS"] = str(seconds)

    def start_worker(self, *arguments: str) -> Child:
        return self._start("worker", "manage.py", "run_worker", *arguments)

    def start_scheduler(self, *arguments: str) -> Child:
        return self._start("scheduler", "manage.py", "run_scheduler", *arguments)

    def start_api(self) -> tuple[Child, httpx.Client]:
        """The process and a client for it; it answers when this returns."""
        port = free_port()
        api = self._start("api", *SERVER.split(), f"127.0.0.1:{port}")
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_SECONDS)
        self._clients.append(client)
        self.until(lambda: _is_live(client))
        return api, client

    def _start(self, name: str, *command: str) -> Child:
        log = self._logs / f"{len(self._children)}-{name}.log"
        child = Child(name, [sys.executable, *command], log=log, env=os.environ | self.env, cwd=ROOT, rank=2)
        child.start()
        self._children.append(child)
        return child

    def pause(self, child: Child) -> None:
        os.kill(child.pid, signal.SIGSTOP)

    def resume(self, child: Child) -> None:
        os.kill(child.pid, signal.SIGCONT)

    def worker_pids(self) -> set[int]:
        """Of all worker processes that have a row, a node's children too."""
        pids = {int(name.rpartition(":")[2]) for name in Worker.objects.values_list("name", flat=True)}
        self._node_pids |= pids
        return pids

    def kill_all(self) -> None:
        """What is left of the journey's processes ends here; their last words show if the test failed."""
        with suppress(DatabaseError):
            self.worker_pids()
        for client in self._clients:
            client.close()
        for child in self._children:
            child.kill()
        for pid in filter(is_running, self._node_pids):
            os.kill(pid, signal.SIGKILL)
        for child in self._children:
            sys.stdout.write(f"── {child.log.stem}, exit status {child.returncode}\n{child.last_lines(40)}\n")

    # ── Jobs ──────────────────────────────────────────────────────────────────────────────────

    def accept(self, to: str = "ann@example.com", *, correlation_id: str = "a-journey", **options: Any) -> UUID:
        """Let one email in, as the API does."""
        payload = {"to": to, "subject": "Hello", "text": "Hello from a journey."}
        return self.accept_body({"type": "email", "payload": payload, **options}, correlation_id=correlation_id)

    def accept_many(self, count: int, **options: Any) -> list[UUID]:
        return [self.accept(f"ann{number}@example.com", **options) for number in range(count)]

    def accept_body(self, body: Mapping[str, Any], *, correlation_id: str = "a-journey") -> UUID:
        request = requests.read(dict(body))
        return intake.accept(request, owner_id=self.owner.id, correlation_id=correlation_id).job_id

    def job(self, job_id: UUID) -> Job:
        return Job.objects.get(id=job_id)

    def outcomes(self, job_id: UUID) -> list[str]:
        """How each attempt ended, in order."""
        return list(Attempt.objects.filter(job_id=job_id).order_by("id").values_list("outcome", flat=True))

    # ── Looking ───────────────────────────────────────────────────────────────────────────────

    def until(self, condition: Callable[[], T], *, within: float = PATIENCE_SECONDS) -> T:
        """Wait for a condition, and return what it says. A process that failed ends the wait."""
        deadline = time.monotonic() + within
        while not (answer := condition()):
            for child in self._children:
                if (child.returncode or 0) > 0:
                    pytest.fail(child.obituary())
            if time.monotonic() > deadline:
                pytest.fail(f"The condition was not met within {within:.0f} s.")
            time.sleep(0.02)
        return answer

    def until_status(self, status: Status, *job_ids: UUID) -> None:
        """Wait until these jobs, or without names all of them, have this status."""
        jobs = Job.objects.filter(id__in=job_ids) if job_ids else Job.objects.all()
        self.until(lambda: not jobs.exclude(status=status).exists())

    def lines(self, child: Child) -> list[dict[str, Any]]:
        """What a process has logged; whatever is no JSON object comes as {"unreadable": …}."""
        text = child.log.read_text() if child.log.exists() else ""
        return [_as_line(line) for line in text.splitlines()]

    def said(self, child: Child, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines(child) if line.get("event") == event]

    def assert_books_balance(self, *others: FaultySmtp) -> None:
        """`others` are mail servers beside the platform's own."""
        books.assert_balanced(self.smtp, *others)

    def copies(self, job_id: UUID) -> int:
        """How often the SMTP server has taken this job's mail."""
        return books.copies_of(job_id, self.smtp)


def _is_live(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def _as_line(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"unreadable": text}


def metric(text: str, name: str, **labels: str) -> float:
    """The sum over all samples of this name that carry these labels."""
    return sum(_samples(text, name, [f'{key}="{value}"' for key, value in labels.items()]))


def _samples(text: str, name: str, labels: list[str]) -> Iterable[float]:
    for line in text.splitlines():
        if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in labels):
            yield float(line.rpartition(" ")[2])
