"""Requests to copy, shown in the OpenAPI document."""

from __future__ import annotations

from typing import Any

EMAIL: dict[str, Any] = {"to": "ann@example.org", "subject": "Your invoice", "text": "It is attached."}

JOBS: dict[str, Any] = {
    "welcome email": {"email": "ann@example.org", "name": "Ann"},
    "email": {"type": "email", "payload": EMAIL},
    "later, once, urgent": {
        "type": "email",
        "payload": EMAIL | {"cc": ["bob@example.org"], "html": "<p>It is attached.</p>"},
        "idempotency_key": "invoice-2031-0042",
        "delay_seconds": 60,
        "priority": "high",
        "max_attempts": 3,
        "on_unknown": "hold",
    },
    "type inside the payload": {"payload": {"type": "email"} | EMAIL},
}
NAMED_JOBS: dict[str, Any] = {"email": {"name": "email", "payload": EMAIL}}
DECISIONS: dict[str, Any] = {
    "it arrived": {"decision": "mark_sent"},
    "send it again": {"decision": "send_again"},
    "let it be": {"decision": "drop"},
}
