"""`manage.py run_worker`: one worker node."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandParser

from jobs import tracing
from jobs.conf import tunables
from jobs.states import Priority
from workers import probes
from workers.delivery import Delivery
from workers.node import Node, port
from workers.watchdog import watched
from workers.worker import Worker, collect_garbage_seldom


class Command(BaseCommand):
    help = "Take jobs and carry them out until SIGTERM, which drains; a second signal hands everything back at once."
    requires_system_checks = [Tags.security]  # ours among them; the others would load every view of the API

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--processes", type=positive, default=1, help="worker processes of this node (1)")
        parser.add_argument("--concurrency", type=positive, help="deliveries under way at once, per process")
        parser.add_argument(
            "--queues", type=priorities, default=list(Priority), help="which queues, in order (high,default,low)"
        )
        parser.add_argument(
            "--metrics-port", type=port, help="serve the whole node's /metrics, /health/live and /health/ready here"
        )
        parser.add_argument("--follow-stdin", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("--report-to", type=Path, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        code = self._run_node(options) if options["processes"] > 1 else self._run_worker(options)
        sys.exit(code)

    def _run_node(self, options: dict[str, Any]) -> int:
        command = [str(settings.BASE_DIR / "manage.py"), "run_worker", "--queues", ",".join(options["queues"])]
        if options["concurrency"]:
            command += ["--concurrency", str(options["concurrency"])]
        return Node(processes=options["processes"], command=command, metrics_port=options["metrics_port"]).run()

    def _run_worker(self, options: dict[str, Any]) -> int:
        worker = Worker(
            priorities=options["queues"],
            concurrency=options["concurrency"] or tunables().worker_concurrency,
            delivery=_delivery(),
        )
        collect_garbage_seldom()
        with (
            tracing.exporting("worker"),
            watched(worker.pulse, silence_seconds=tunables().lease_seconds, report_to=options["report_to"]),
            probes.serving(options["metrics_port"], worker.pulse),
        ):
            return worker.run(follow=sys.stdin.fileno() if options["follow_stdin"] else None)


def _delivery() -> type[Delivery]:
    if not tracing.is_on():
        return Delivery
    from workers.tracing import TracedDelivery  # and all of OpenTelemetry

    return TracedDelivery


def positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return number


def priorities(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Priority)]
    if unknown or not names:
        known = ", ".join(Priority)
        raise argparse.ArgumentTypeError(f"{text!r}: name one or more of {known}, in the order to be served")
    return list(dict.fromkeys(names))
