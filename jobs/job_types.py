"""The types of job that everybody has."""

from __future__ import annotations

from jobs import emails
from jobs.types import JobType, register

register(
    JobType(name="email", payload=emails.EmailPayload, rules=emails.email_rules, recipients=emails.recipients),
)
register(
    JobType(
        name="welcome_email",
        payload=emails.WelcomeEmailPayload,
        rules=emails.welcome_rules,
        recipients=emails.welcomed,
    )
)
