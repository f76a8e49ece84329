"""The types of job that everybody has."""

from __future__ import annotations

from jobs import emails, notifications, templated_emails, webhooks
from jobs.states import DestinationKind
from jobs.types import JobType, Retry, register

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

HOUR = 3600.0
register(
    JobType(
        name="webhook",
        payload=webhooks.WebhookPayload,
        rules=webhooks.rules,
        destination=DestinationKind.WEBHOOK,
        may_be_repeated=True,  # its receiver knows it again by its id
        # As Standard Webhooks recommends: some three days in all.
        retry=Retry(
            attempts=10,
            schedule=(5.0, 300.0, HOUR / 2, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
        ),
    )
)
register(
    JobType(
        name="notification",
        payload=notifications.NotificationPayload,
        rules=notifications.rules,
        destination=DestinationKind.NOTIFICATION,
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
