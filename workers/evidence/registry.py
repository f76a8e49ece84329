"""Which provider can be asked, and how: EVIDENCE_SOURCES, by alias. A new kind of source is a line in KINDS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

from jobs.conf import tunables
from workers.evidence.base import Source
from workers.evidence.inbox import InboxBook
from workers.evidence.mailgun import MailgunEvents

KINDS: Final[dict[str, Callable[[SplitResult], Source]]] = {
    "inbox+smtp": InboxBook.from_url,
    "mailgun+https": MailgunEvents.from_url,
    "mailgun+http": MailgunEvents.from_url,  # on this machine only: for tests
}


def sources(urls: Mapping[str, str] | None = None) -> dict[str, Source]:
    """Every source by its provider's alias. Raises ImproperlyConfigured with the remedy; no message shows a URL."""
    urls = tunables().evidence_sources if urls is None else urls
    return {alias: _source(alias, url) for alias, url in urls.items()}


def _source(alias: str, url: str) -> Source:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises, too
    except ValueError:  # its message would show a piece of the URL
        raise _wrong(alias, "the URL cannot be read. Percent-encode special characters of the key.") from None
    if parts.scheme not in KINDS:
        raise _wrong(alias, f"the URL must start with one of {', '.join(f'{kind}://' for kind in KINDS)}.")
    try:
        return KINDS[parts.scheme](parts)
    except ValueError as error:
        raise _wrong(alias, str(error)) from None


def _wrong(alias: str, remedy: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"EVIDENCE_SOURCES: {alias!r}: {remedy}")
