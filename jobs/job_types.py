"""The types of job that everybody has."""

from __future__ import annotations

from jobs import emails, templated_emails
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
register(
    JobType(
        name="templated_email",
        payload=templated_emails.TemplatedEmailPayload,
        rules=templated_emails.templated_rules,
        recipients=emails.recipients,
        written_as=templated_emails.WrittenEmailPayload,
    )
)
