"""Notifications: what a job of this type holds, and which services can be reached (those that Apprise knows)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from msgspec import Meta, Struct

from jobs.errors import InvalidRequest
from jobs.rules import Problem

LONGEST_URL = 2000
LONGEST_TITLE, LONGEST_BODY = 250, 32_000
# They show something on the machine that sends, which is a server.
OF_THIS_MACHINE = frozenset({"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})


class Level(StrEnum):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


class NotificationPayload(Struct, frozen=True, forbid_unknown_fields=True):
    """A few words for people: to a phone, a chat, a pager, as one of your destinations says."""

    destination: Annotated[str, Meta(description="The name of a notification of yours, from /destinations.")]
    body: Annotated[
        str, Meta(description="What is said.", extra_json_schema={"minLength": 1, "maxLength": LONGEST_BODY})
    ]
    title: Annotated[str, Meta(description="One line.", extra_json_schema={"maxLength": LONGEST_TITLE})] = ""
    level: Annotated[Level, Meta(description="Services show it by a colour or a sign.")] = Level.INFO


def rules(payload: NotificationPayload, at: str) -> Iterator[Problem]:
    if not 0 < len(payload.body.strip()) <= len(payload.body) <= LONGEST_BODY:
        yield f"{at}.body", f"Some text, up to {LONGEST_BODY} characters."
    if len(payload.title) > LONGEST_TITLE or not (payload.title.isprintable() or not payload.title):
        yield f"{at}.title", f"One line, up to {LONGEST_TITLE} characters."


def service(url: str) -> Any:
    """Apprise's object for an address, or None when it knows no such service or misses a part."""
    if not url.isprintable() or len(url) > LONGEST_URL:
        return None
    found = _apprise().Apprise.instantiate(url, suppress_exceptions=True)
    if found is not None:
        found.retry = 0  # it is tried again by us, who know when it may be
    return found


@cache
def _apprise() -> Any:
    """With its hundred services it takes 30 MB and a fifth of a second: only for whoever needs it."""
    with warnings.catch_warnings():  # of what Python's next versions will not have
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        apprise.Apprise.instantiate("json://localhost")  # this loads them
    return apprise


def check_url(url: str) -> str:
    """The service's name, as people are shown it. Raises InvalidRequest."""
    found = service(url)
    if found is None:
        raise InvalidRequest.field(
            "url", "Apprise knows no service of this address, or misses a part of it. Example: tgram://TOKEN/CHAT_ID."
        )
    if url.partition("://")[0].lower() in OF_THIS_MACHINE:
        raise InvalidRequest.field("url", "It would show something on the server itself; name a service for people.")
    return str(found.service_name)
