"""Which channel carries which type of job."""

from __future__ import annotations

from typing import Final

from jobs.conf import tunables
from workers.channels.base import Channel
from workers.channels.email import EmailChannel
from workers.providers import endpoints

KNOWN: Final = frozenset({"email", "welcome_email"})


def channels() -> dict[str, Channel]:
    """Fresh channels for one worker process, by type of job; types may share one.

    Raises ImproperlyConfigured. Close each distinct channel once; closing twice does no harm.
    """
    email = EmailChannel(endpoints(), tunables())
    return {"email": email, "welcome_email": email}
