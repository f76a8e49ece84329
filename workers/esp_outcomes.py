"""What an email service's answer, or its absence, means for the promise. The table is in docs/providers.md.

The request is sent after the mark, so there are three ends: the service has it, the service said no, or nobody can
know. A 5xx is none of the first two: whoever stands before the service says 502 and 504 of requests that it has handed
on, and 500 is said of work that was half done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import requests
from anymail.exceptions import AnymailInvalidAddress, AnymailSerializationError, AnymailUnsupportedFeature
from anymail.message import AnymailRecipientStatus

from jobs.errors import DeliveryError, Invalid, Permanent, Transient, Unanswered
from workers import retry_after, smtp_failures
from workers.causes import causes
from workers.channels.base import MailReceipt, Refusal

TAKEN: Final = frozenset({"sent", "queued"})
REFUSED: Final = frozenset({"rejected", "invalid", "failed"})
SETUP: Final = frozenset({401, 402, 405, 407})  # our key, account or address: not this message's fault
DENIED: Final = frozenset({403, 404})  # the same, or what this message's sender may not do there
LONGEST_EXCERPT: Final = 500
SHORTEST_SECRET: Final = 4


class EspReceipt(MailReceipt, frozen=True):
    """An email service's."""

    esp_message_id: str = ""  # its own; several, where each recipient has one, with commas between

    @property
    def result(self) -> dict[str, Any]:
        return {**super().result, "esp_message_id": self.esp_message_id}


def unwritable(error: BaseException) -> DeliveryError:
    """The message could not be put into the service's form; nothing was sent. Raised before the mark."""
    if isinstance(error, AnymailUnsupportedFeature | AnymailInvalidAddress | AnymailSerializationError):
        told = str(error.args[0]) if error.args else type(error).__name__
        return Invalid(f"The email service cannot take this message: {told}", kind="esp_unsupported")
    return Invalid(f"The email service cannot take this message: {type(error).__name__}.", kind="esp_unsupported")


def of_silence(error: BaseException, *, has_begun: bool) -> DeliveryError:
    """No answer came. `has_begun`: bytes of the request may have left."""
    if not has_begun:
        found = next((cause for cause in causes(error) if _is_of_the_network(cause)), None)
        if isinstance(found, OSError):
            return smtp_failures.unreachable(found)
        if isinstance(error, requests.RequestException):
            return Transient(f"The email service could not be asked: {type(error).__name__}.", kind="esp_setup")
        return unwritable(error)  # its backend puts some of it into form only now
    if isinstance(error, requests.Timeout) or any(isinstance(cause, TimeoutError) for cause in causes(error)):
        return Unanswered("The email service did not answer in time.", kind="timeout")
    return Unanswered("The connection to the email service broke before its answer was there.", kind="esp_closed")


def _is_of_the_network(error: BaseException) -> bool:
    """The system's own word; requests' errors are OSErrors, too, and only wrap it."""
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)


def of_refusal(response: requests.Response, secrets: Iterable[str]) -> DeliveryError:
    """The answer is no acceptance: not a 2xx, or one that cannot be understood."""
    status, told = response.status_code, excerpt(response, secrets)
    after = retry_after.seconds(response.headers.get("Retry-After"))
    if status < 300:
        return Unanswered(f"The email service's answer makes no sense. {told}", kind="esp_protocol", code=status)
    if status < 400:
        told = f"HTTP {status} to another address, which is not followed. Look at the provider's api_url."
        return Transient(told, kind="esp_setup", code=status)
    if status in SETUP:
        return Transient(told, kind="esp_setup", code=status, retry_after=after)
    if status in DENIED:  # again, perhaps after somebody has set it right; but it says nothing of other messages
        return Transient(told, kind="esp_denied", code=status, retry_after=after)
    if retry_after.is_busy(status, after):
        return Transient(told, kind="esp_busy", code=status, retry_after=after)
    if status < 500:
        return Permanent(told, kind="esp_refused", code=status)
    return Unanswered(told, kind="esp_5xx", code=status)


def of_answer(
    response: requests.Response,
    statuses: dict[str, AnymailRecipientStatus],
    *,
    provider: str,
    message_id: str,
    secrets: Iterable[str],
) -> EspReceipt:
    """The receipt for what the service says of each recipient. Raises as `of_refusal`; Permanent when it takes nobody,
    Unanswered when it does not say so clearly of anybody."""
    if not 200 <= response.status_code < 300:  # some backends read the recipients of a refusal, too
        raise of_refusal(response, secrets)
    told = excerpt(response, secrets)
    taken = [address for address, one in statuses.items() if one.status in TAKEN]
    refused = [(address, one.status) for address, one in statuses.items() if one.status in REFUSED]
    if not taken and len(refused) == len(statuses) > 0:
        raise Permanent(f"All recipients were refused. {told}", kind="esp_refused", code=response.status_code)
    if not taken:
        raise Unanswered(f"The email service does not say whom it took. {told}", kind="esp_protocol")
    ids = {str(one.message_id): None for one in statuses.values() if one.message_id is not None}
    return EspReceipt(
        provider=provider,
        code=response.status_code,
        detail=told,
        message_id=message_id,
        accepted=tuple(taken),
        refused=tuple(Refusal(address, response.status_code, str(status)) for address, status in refused),
        esp_message_id=", ".join(ids),
    )


def excerpt(response: requests.Response, secrets: Iterable[str]) -> str:
    """What it said, without what nobody is to read."""
    words = response.text
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            words = words.replace(secret, "…")
    return " ".join(words[: 4 * LONGEST_EXCERPT].split())[:LONGEST_EXCERPT] or f"HTTP {response.status_code}."
