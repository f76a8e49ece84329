"""`make run`: a whole Sendonce on this machine, with a first email, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand
from rich.console import Console

from scheduler.embedded.child import CannotStart
from scheduler.embedded.first_email import Api, Trip
from scheduler.embedded.local_ground import DEMO_USERNAME
from scheduler.embedded.local_stack import DEFAULT_DATA, DEFAULT_WORKERS, LocalStack, Options, StopAsked

FAULTS_TO_PLAY = (
    "Try: refuse@example.org → dead letter, defer@example.org → retried, silent@example.org → unknown,\n"
    "     forgetful@example.org → unknown, until the inbox is asked"
)


class Command(BaseCommand):
    help = "Start PostgreSQL, Valkey, an inbox, the API, a worker and the scheduler; send one email; run until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=_port, default=8000, help="of the API (8000)")
        parser.add_argument("--smtp-port", type=_port, default=1025, help="of the inbox (1025)")
        parser.add_argument("--data", type=_folder, default=DEFAULT_DATA, help="survives restarts (.local)")
        parser.add_argument("--workers", type=_workers, default=DEFAULT_WORKERS, help="worker processes (1)")
        parser.add_argument("--metrics-port", type=_port, default=9091, help="of the worker's metrics (9091)")
        parser.add_argument("--no-demo", action="store_true", help="send no first email")
        parser.add_argument("--stop-with-parent", action="store_true", help="stop when the calling process ends")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("port", "smtp_port", "data", "workers", "metrics_port", "stop_with_parent")
        chosen = Options(**{name: options[name] for name in names})
        sys.exit(LocalRun(chosen, demo=not options["no_demo"]).run())


class LocalRun:
    """One start, from the first line on the terminal to the last."""

    def __init__(self, options: Options, *, demo: bool) -> None:
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.stack = LocalStack(options, self.step, self.say)
        self.api = Api(self.stack.base_url)
        self._demo = demo

    def run(self) -> int:
        """0 after Ctrl-C or SIGTERM, 1 when something could not start or died."""
        started = time.monotonic()
        self.stack.listen_to_signals()
        try:
            self.stack.start(self.api.is_ready)
            self.api.login(DEMO_USERNAME, self.stack.demo_password)
            trip = self.send_first_email() if self._demo else None
            self.say(f"\nReady after {time.monotonic() - started:.1f} s.", style="bold green")
            self.show_doors(trip)
            self.stack.watch_over()
        except StopAsked:
            self.say("\nStopping. Ctrl-C again to stop at once.")
            return 0
        except CannotStart as trouble:
            self.say(f"\n{trouble}", style="red")
            return 1
        finally:
            self.stack.stop()
        return 0

    def send_first_email(self) -> Trip | None:
        if self.stack.inbox is None:
            self.say("EMAIL_PROVIDERS is set, so no first email is sent into the world.")
            return None
        self.say("\nA first email, through the whole road:", style="bold")
        trip = self.api.send_welcome("ann@example.org", "Ann")
        self.say(f"  POST /addJob     accepted as job {trip.job_id}")
        self.api.follow(
            trip,
            within=60.0,
            seen=lambda status, seconds: self.say(f"  GET  /jobs/{{id}}   {status:<10} after {seconds * 1000:.0f} ms"),
            watch=self.stack.watch,
        )
        self.show_arrival(trip)
        return trip

    def show_arrival(self, trip: Trip) -> None:
        inbox = self.stack.inbox
        if inbox is None or trip.job.get("status") != "completed":
            self.say(f"  not delivered: {trip.job.get('last_error')}; see {self.stack.data}/logs", style="red")
            return
        newest = [mail for mail in inbox.newest(20) if trip.message_id.encode() in inbox.source(mail)]
        self.say(f"  Message-ID       {trip.message_id}")
        for mail in newest:
            self.say(f"  in the inbox     {self.stack.base_url}/inbox/{mail.id}")

    def show_doors(self, trip: Trip | None) -> None:
        base, stack = self.stack.base_url, self.stack
        doors = {"API and its docs": f"{base}/docs", "Admin": f"{base}/admin/"}
        if stack.inbox is not None:
            doors["Inbox"] = f"{base}/inbox"
        doors |= {
            "Metrics": f"{base}/metrics",
            "Sign in as": f"{DEMO_USERNAME} / {stack.demo_password}",
            "Logs": f"{stack.data / 'logs'}",
        }
        self.say("")
        for name, door in doors.items():
            self.say(f"  {name:<17}{door}")
        self.say("\nTo paste:", style="bold")
        for line in self.curl_lines(trip):
            self.say(line)
        if stack.inbox is not None:
            self.say(f"\n{FAULTS_TO_PLAY}")
        self.say("\nRunning until Ctrl-C.")

    def curl_lines(self, trip: Trip | None) -> list[str]:
        base, auth = self.stack.base_url, '-H "Authorization: Bearer $TOKEN"'
        body = """-H 'Content-Type: application/json' -d '{"email": "bob@example.org", "name": "Bob"}'"""
        ekyc = """-H 'X-Correlation-ID: job-123' -d '{"type":"ekyc-verification","payload":{"user_id":456}}'"""
        look = f"curl -s {base}/jobs/{trip.job_id} {auth}" if trip else f"curl -s {base}/jobs {auth}"
        return [
            f"TOKEN={self.api.token}",
            f"curl -s {base}/addJob {auth} {body}",
            f"curl -s {base}/jobs {auth} {ekyc}",
            look,
            f"curl -s {base}/failedJobs {auth}",
            f"curl -s {base}/workers {auth}",
        ]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A spinner while it lasts (at a terminal), a line with its time when it is done."""
        started = time.monotonic()
        with self.console.status(name):
            yield
        self.say(f"  {name:<45}{time.monotonic() - started:5.1f} s")

    def say(self, line: str, style: str = "") -> None:
        with suppress(OSError):  # the terminal may be gone; what was started still has to be stopped
            self.console.print(line, style=style)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ArgumentTypeError(f"{text!r} is no port; ports are 1 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no number of worker processes; at least 1 is needed")
    return int(text)


def _folder(text: str) -> Path:
    return Path(text).expanduser()  # make passes it on quoted, so no shell has done it
