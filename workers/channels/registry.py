"""Which channel carries which type of job."""

from __future__ import annotations

from jobs import types
from jobs.conf import tunables
from workers.channels.base import Channel
from workers.channels.email import EmailChannel
from workers.channels.notification import NotificationChannel
from workers.channels.task import TaskChannel
from workers.channels.webhook import WebhookChannel
from workers.hands import Hands
from workers.providers import endpoints


def channels() -> dict[str, Channel]:
    """Fresh channels for one worker process, by type of job; types may share one.

    Raises ImproperlyConfigured. Close each distinct channel once; closing twice does no harm.
    """
    conf = tunables()
    email, hands = EmailChannel(endpoints(), conf), Hands(conf.worker_hands)
    messages: dict[str, Channel] = {
        "email": email,
        "welcome_email": email,
        "templated_email": email,
        "webhook": WebhookChannel(conf),
        "notification": NotificationChannel(),
    }
    tasks: dict[str, Channel] = {type.name: TaskChannel(type, hands) for type in types.every() if type.handler}
    return messages | tasks
