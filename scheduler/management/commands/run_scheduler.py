"""`manage.py run_scheduler`: the clock."""

from __future__ import annotations

import signal
import sys
from typing import Any

import structlog
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandParser

from jobs import tracing
from jobs.conf import tunables
from scheduler.loops.base import Chore
from scheduler.loops.herald import Herald
from scheduler.loops.inquirer import Inquirer
from scheduler.loops.promoter import Promoter
from scheduler.loops.pruner import Pruner
from scheduler.loops.reconciler import Reconciler
from scheduler.loops.rescuer import Rescuer
from scheduler.loops.timekeeper import Timekeeper
from scheduler.loops.waker import Waker
from scheduler.loops.witness import Witness
from scheduler.ticker import Ticker
from workers import probes
from workers.evidence.registry import sources
from workers.node import port
from workers.watchdog import watched

log = structlog.get_logger(__name__)

HANGS_SECONDS = 60.0  # without a sign of life; the longest round without any is one of questions to providers, 10 s


class Command(BaseCommand):
    help = "Promote what is due, fire schedules, rescue from dead workers, mend the queue, prune. Any number may run."
    requires_system_checks = [Tags.security]  # ours among them; the others would load every view of the API

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--metrics-port", type=port, help="serve /metrics, /health/live and /health/ready here")

    def handle(self, *args: Any, **options: Any) -> None:
        conf = tunables()
        inquirer = Inquirer(conf, sources())
        chores: list[Chore] = [
            Promoter(),
            Timekeeper(),
            Herald(),
            Rescuer(conf),
            Reconciler(),
            inquirer,
            Witness(),
            Waker(conf),
            Pruner(conf),
        ]
        ticker = Ticker(chores)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ticker.stop())
        log.info("scheduler_started")
        with (
            tracing.exporting("clock"),
            watched(ticker.pulse, silence_seconds=HANGS_SECONDS),
            probes.serving(options["metrics_port"], ticker.pulse),
        ):
            code = ticker.run()
        log.info("scheduler_stopped")
        if code:
            sys.exit(code)
