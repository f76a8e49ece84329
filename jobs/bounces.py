"""Which bounces are final: the address will not take mail tomorrow either.

anymail calls a bounce whatever was not delivered, a full mailbox too. Which of them is final only the service's own
words say, so they are looked up in its event as it came; a service that has no word for it, or a word that is not
listed here, suppresses nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jobs.states import EventKind

NOT_DELIVERED: Final = frozenset({EventKind.BOUNCED, EventKind.REJECTED, EventKind.FAILED})
Raw = Mapping[str, Any]


def _mailgun(raw: Raw) -> bool:
    data = raw.get("event-data", {})
    return data.get("severity") == "permanent" and data.get("reason") in ("bounce", "suppress-bounce")


def _postmark(raw: Raw) -> bool:
    return raw.get("Type", raw.get("SuppressionReason")) in ("HardBounce", "BadEmailAddress")


def _resend(raw: Raw) -> bool:
    return raw.get("data", {}).get("bounce", {}).get("type") == "Permanent"


FINAL: Final[dict[str, Callable[[Raw], bool]]] = {
    "brevo": lambda raw: raw.get("event") in ("hard_bounce", "invalid_email"),
    "mailersend": lambda raw: raw.get("data", {}).get("type") == "hard_bounced",
    "mailgun": _mailgun,
    "mailjet": lambda raw: raw.get("hard_bounce") is True,
    "mailtrap": lambda raw: raw.get("event") == "bounce",
    "mandrill": lambda raw: raw.get("event") == "hard_bounce",
    "postmark": _postmark,
    "resend": _resend,
    "sendgrid": lambda raw: raw.get("event") == "bounce" and raw.get("type") == "bounce",
    "sparkpost": lambda raw: str(_sparkpost_class(raw)) in ("10", "30"),  # invalid recipient; no such recipient
}


def _sparkpost_class(raw: Raw) -> Any:
    """The event as it came is wrapped in its class's name."""
    inner = next((value for value in raw.get("msys", {}).values() if isinstance(value, Mapping)), raw)
    return inner.get("bounce_class")


def is_final(esp: str, kind: EventKind, raw: object) -> bool:
    """`raw` is the event as the service wrote it; one in another shape than its documentation's is not final."""
    if kind not in NOT_DELIVERED or esp not in FINAL or not isinstance(raw, Mapping):
        return False
    try:
        return FINAL[esp](raw)
    except AttributeError:
        return False
