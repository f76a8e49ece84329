"""One event, one line: JSON for machines, colours for people, and the same processors for everybody's lines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SETTING_UP = """
import logging, sys
import structlog
from scheduler.logs import configure_logging
sys.stderr.isatty = lambda: {tty}
configure_logging({level!r}, {fmt!r}, is_traced={is_traced})
log = structlog.get_logger("sendonce.test")
"""


def lines_of(
    code: str, *, level: str = "INFO", fmt: str = "auto", tty: bool = False, is_traced: bool = False
) -> list[str]:
    """What a process of its own writes to stderr: logging is configured once per process."""
    script = SETTING_UP.format(level=level, fmt=fmt, tty=tty, is_traced=is_traced) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_outside_a_terminal_each_event_is_one_line_of_json():
    (line,) = lines_of("log.info('job_settled', outcome='sent', ms=4.2)")

    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "job_settled",
        "outcome": "sent",
        "ms": 4.2,
        "level": "info",
        "logger": "sendonce.test",
    }


def test_what_a_trip_binds_stands_in_each_of_its_lines_and_in_no_other():
    first, second, third = lines_of(
        "structlog.contextvars.bind_contextvars(job_id='j-1', attempt=2)\n"
        "log.info('one')\n"
        "logging.getLogger('somebody').warning('else')\n"
        "structlog.contextvars.clear_contextvars()\n"
        "log.info('three')\n"
    )

    assert json.loads(first) | {"job_id": "j-1", "attempt": 2} == json.loads(first)
    assert json.loads(second) | {"job_id": "j-1", "event": "else", "logger": "somebody"} == json.loads(second)
    assert "job_id" not in json.loads(third)


def test_what_is_said_in_a_span_names_its_trace_unless_it_names_one_itself():
    first, second, third = lines_of(
        "from opentelemetry import trace\n"
        "context = trace.SpanContext(0xabc, 0xdef, is_remote=False)\n"
        "with trace.use_span(trace.NonRecordingSpan(context)):\n"
        "    log.info('one')\n"
        "    log.info('two', trace_id='of the job')\n"
        "log.info('three')\n",
        is_traced=True,
    )

    assert json.loads(first)["trace_id"] == "0" * 29 + "abc"
    assert json.loads(second)["trace_id"] == "of the job"
    assert "trace_id" not in json.loads(third)


def test_an_exception_stays_within_its_line():
    (line,) = lines_of("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('trip_failed')\n")

    event = json.loads(line)
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("ZeroDivisionError: division by zero")
    assert "exc_info" not in event


def test_an_exception_shows_neither_the_values_of_variables_nor_rows_that_postgres_quotes():
    (line,) = lines_of(
        "import psycopg\n"
        "from django.db import IntegrityError\n"
        "address = 'ann@example.org'\n"
        "error = IntegrityError('DETAIL: Failing row contains (ann@example.org)')\n"
        "error.__cause__ = psycopg.errors.CheckViolation('DETAIL: Failing row contains (ann@example.org)')\n"
        "log.error('row_refused', exc_info=error)\n"
    )

    told = json.loads(line)["exception"]
    assert "django.db.utils.IntegrityError" in told
    assert "psycopg.errors.CheckViolation: sqlstate=23514" in told
    assert "ann@" not in line


def test_an_exception_of_the_standard_librarys_loggers_does_so_too():
    (line,) = lines_of("try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('else')\n")

    assert json.loads(line)["exception"].endswith("ZeroDivisionError: division by zero")


def test_words_with_line_breaks_do_not_forge_lines():
    (line,) = lines_of("log.info('said', detail='no\\n{\"event\": \"forged\"}')")

    assert json.loads(line)["detail"] == 'no\n{"event": "forged"}'


def test_at_a_terminal_people_read_it():
    (line,) = lines_of("log.info('job_settled', outcome='sent')", tty=True)

    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(line)
    assert "job_settled" in line
    assert "outcome" in line


@pytest.mark.parametrize(("fmt", "tty", "is_json"), [("json", True, True), ("console", False, False)])
def test_the_setting_overrules_the_terminal(fmt, tty, is_json):
    (line,) = lines_of("log.info('job_settled')", fmt=fmt, tty=tty)

    assert line.startswith("{") == is_json


def test_what_is_below_the_level_is_not_written():
    lines = lines_of("log.info('quiet')\nlog.warning('loud')\nlogging.info('quiet')\n", level="warning")

    assert [json.loads(line)["event"] for line in lines] == ["loud"]


@pytest.mark.parametrize("name", ["mail.log", "httpx", "asyncio"])
def test_libraries_that_name_addresses_and_paths_are_heard_only_when_they_warn(name):
    lines = lines_of(f"logging.getLogger({name!r}).info('ann@example.org')\nlogging.getLogger({name!r}).warning('w')\n")

    assert [json.loads(line)["event"] for line in lines] == ["w"]
