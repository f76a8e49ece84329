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
    "webhook": {
        "type": "webhook",
        "payload": {"destination": "shop", "event": "order.paid", "data": {"order": 4711}},
    },
    "notification": {"type": "notification", "payload": {"destination": "on-call", "body": "The till is silent."}},
    "written by a template of yours": {
        "type": "templated_email",
        "payload": {
            "to": "ann@example.org",
            "template": "order-shipped",
            "variables": {"name": "Ann", "order": {"id": 4711, "lines": [{"title": "A lamp", "count": 2}]}},
        },
    },
    "type inside the payload": {"payload": {"type": "email"} | EMAIL},
}
BATCHES: dict[str, Any] = {
    "two emails": {
        "jobs": [
            {"type": "email", "payload": EMAIL, "idempotency_key": "invoice-2031-0042"},
            {"type": "email", "payload": EMAIL | {"to": "bob@example.org"}, "idempotency_key": "invoice-2031-0043"},
        ]
    }
}
SCHEDULES: dict[str, Any] = {
    "every working day at half past seven in Berlin": {
        "name": "morning report",
        "cron": "30 7 * * 1-5",
        "time_zone": "Europe/Berlin",
        "type": "email",
        "payload": EMAIL,
    },
    "every hour, also for hours in which no clock was running": {
        "name": "hourly figures",
        "cron": "@hourly",
        "missed": "all",
        "type": "email",
        "payload": EMAIL,
        "priority": "low",
        "max_attempts": 3,
    },
}
NAMED_JOBS: dict[str, Any] = {"email": {"name": "email", "payload": EMAIL}}
DECISIONS: dict[str, Any] = {
    "it arrived": {"decision": "mark_sent", "note": "Ann says that she has it."},
    "send it again": {"decision": "send_again"},
    "let it be": {"decision": "drop"},
}
REQUEUES: dict[str, Any] = {
    "try again": {"note": "The mailbox exists now."},
    "once more, though another job of its key was sent": {"override": True, "note": "Ann deleted it by mistake."},
}
REDRIVES: dict[str, Any] = {
    "what would happen": {"reason": "exhausted", "since": "2031-05-01T08:00:00Z", "until": "2031-05-01T12:00:00Z"},
    "do it": {"reason": "exhausted", "preview": False, "note": "The relay is back."},
    "also what may have been sent": {
        "reason": "unknown",
        "preview": False,
        "override": ["unknown"],
        "note": "One-time codes: twice is better than never.",
    },
}
DISCARDS: dict[str, Any] = {
    "what would happen": {"reason": "permanent"},
    "do it": {"reason": "invalid", "preview": False, "note": "A broken release; all were sent by the next."},
}
RESOLUTIONS: dict[str, Any] = {
    "what would happen": {"decision": "mark_sent", "reason": "unknown", "type": "email"},
    "do it": {"decision": "mark_sent", "reason": "unknown", "preview": False, "note": "The relay's log has them all."},
}

DESTINATIONS: dict[str, Any] = {
    "webhook": {"kind": "webhook", "url": "https://hooks.example.org/orders"},
    "notification": {"kind": "notification", "url": "tgram://123456789:AbCdEf/12315544"},
}
SUPPRESSIONS: dict[str, Any] = {
    "no more mail at all": {
        "addresses": ["ann@example.org", "bob@example.org"],
        "detail": "They asked us to, ticket 4711.",
    },
    "no more of one topic": {"addresses": ["cid@example.org"], "topic": "newsletter", "reason": "unsubscribe"},
}
SHIPPED: dict[str, Any] = {
    "subject": "Order {{ order.id }} is on its way",
    "html": "<p>Dear {{ name }},</p><ul>{% for line in order.lines %}<li>{{ line.count }} × {{ line.title }}</li>"
    "{% endfor %}</ul>{% if note %}<p>{{ note }}</p>{% endif %}",
    "example": {"name": "Ann", "order": {"id": 4711, "lines": [{"title": "A lamp", "count": 2}]}},
}
TEMPLATES: dict[str, Any] = {"order-shipped": {"name": "order-shipped"} | SHIPPED}
VERSIONS: dict[str, Any] = {"the next": SHIPPED | {"subject": "Order {{ order.id }} has left"}}
PREVIEWS: dict[str, Any] = {
    "with the version's own example": {},
    "with these": {"variables": {"name": "Bob", "order": {"id": 1, "lines": []}}, "version": 1},
}
