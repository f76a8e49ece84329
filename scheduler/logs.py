"""Structured logs: one event, one line; colours at a terminal, JSON elsewhere.

Addresses, bodies and tokens never appear; ids always do. What a request or a trip binds
(`correlation_id`, `job_id`, `attempt`, …) is merged into each of its lines.
"""

from __future__ import annotations

import logging
import logging.config
import sys

import structlog


def configure_logging(level: str, fmt: str) -> None:
    """Send structlog and the standard library's loggers through the same processors to stderr."""
    coloured = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not coloured:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if coloured else structlog.processors.JSONRenderer()
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            # Their lines name addresses and paths with query strings, or say what ours say better.
            "loggers": {
                "mail.log": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "asyncio": {"level": "WARNING"},
            },
        }
    )
