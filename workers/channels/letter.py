"""The letter: what goes on the wire for one email, from envelope to last line. Pure, no I/O but the templates."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from functools import cache, lru_cache
from typing import Any

from django.template.loader import get_template
from msgspec import Struct

from jobs import addresses, payloads, rules, unsubscribing
from jobs.addresses import Address
from jobs.claims import Claim
from jobs.emails import Attachment, EmailPayload, WelcomeEmailPayload
from jobs.errors import Invalid, Transient
from jobs.templated_emails import WrittenEmailPayload
from jobs.unsubscribing import Reader, Unsubscribe
from workers.channels import mime
from workers.channels.mime import CRLF, Part

ONE_CLICK = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
_NOT_IN_CORRELATION = re.compile(r"[^!-~]")
_MAX_CORRELATION_CHARACTERS = 200


class Letter(Struct, frozen=True, kw_only=True):
    """An envelope and the message in it, ready for DATA.

    `body` has CRLF line ends and doubled dots (RFC 5321 §4.5.2) and ends in CRLF; the final
    ".\\r\\n" is not in it. `needs_smtputf8` asks for SMTPUTF8 (RFC 6531), `eight_bit` for
    BODY=8BITMIME (RFC 6152).
    """

    provider: str | None
    mail_from: str
    recipients: tuple[str, ...]
    body: bytes
    needs_smtputf8: bool
    eight_bit: bool
    message_id: str
    is_last_attempt: bool
    origin: Origin | None = None  # for those who do not take bytes


class Origin(Struct, frozen=True, kw_only=True):
    """What a letter was written from."""

    draft: _Draft
    claim: Claim


class _Draft(Struct, frozen=True, kw_only=True):
    """What every type of email comes down to before it is written."""

    sender: Address
    to: list[Address]
    subject: str
    cc: list[Address] = []
    bcc: list[Address] = []
    reply_to: list[Address] = []
    text: str = ""
    html: str = ""
    headers: dict[str, str] = {}
    attachments: list[Attachment] = []
    unsubscribe: Unsubscribe | None = None


def write(claim: Claim) -> Letter:
    """The letter of a claimed email job of whichever type, dated when it was claimed, by PostgreSQL's clock.

    The Message-ID depends on the job and the sender only, so that it is the same on every attempt.
    Raises Invalid when the payload cannot be read or written, ImproperlyConfigured when
    DEFAULT_FROM_EMAIL is needed and is no address, Transient when PUBLIC_URL is needed and is not set.
    """
    try:
        return _letter(_draft(claim), claim)
    except ValueError as error:
        raise Invalid(f"The message cannot be written: {error}", kind="invalid") from None


def message_id_of(claim: Claim) -> str:
    """The Message-ID of the claim's letter, for whoever asks its provider about it.

    What stands before the @ is the job's alone; the domain is that of the sender as it is configured now.
    Raises Invalid, ValueError or ImproperlyConfigured where no letter could be written any more.
    """
    return _message_id(claim, _draft(claim))


def _draft(claim: Claim) -> _Draft:
    payload = payloads.from_stored(claim.type, claim.payload)
    draft_of = _DRAFTS.get(type(payload))
    if draft_of is None:
        raise Invalid(f"Type {claim.type} is not an email.", kind="invalid")
    return draft_of(payload)


def _message_id(claim: Claim, draft: _Draft) -> str:
    return f"<{claim.job_id}@{draft.sender.domain}>"


def _letter(draft: _Draft, claim: Claim) -> Letter:
    recipients = [*draft.to, *draft.cc, *draft.bcc]
    # The envelope leaves out who is suppressed. To and Cc stay as the author wrote them (docs/suppressions.md).
    envelope = dict.fromkeys(address.spec for address in recipients if address.spec not in claim.suppressed)
    if not envelope:
        raise ValueError("it has no recipient.")
    message_id = _message_id(claim, draft)
    content = _content(draft)
    body = _dots_doubled(_headers(draft, claim, message_id) + content.headers + CRLF + content.body)
    return Letter(
        provider=claim.provider,
        mail_from=draft.sender.spec,
        recipients=tuple(envelope),
        body=body,
        needs_smtputf8=any(address.needs_smtputf8 for address in [draft.sender, *draft.reply_to, *recipients]),
        eight_bit=not body.isascii(),
        message_id=message_id,
        is_last_attempt=claim.is_last_attempt,
        origin=Origin(draft=draft, claim=claim),
    )


def _headers(draft: _Draft, claim: Claim, message_id: str) -> bytes:
    """Everything above the content headers. Bcc never stands in a message."""
    lines = [
        _from(draft.sender),
        mime.address_list("To", draft.to),
        mime.address_list("Cc", draft.cc) if draft.cc else b"",
        mime.address_list("Reply-To", draft.reply_to) if draft.reply_to else b"",
        mime.unstructured("Subject", draft.subject),
        _date(claim.claimed_at.replace(microsecond=0)),
        mime.unstructured("Message-ID", message_id),
        mime.unstructured("X-Job-ID", str(claim.job_id)),
        _correlation(claim.correlation_id),
        *(mime.unstructured(name, value.strip(" ")) for name, value in draft.headers.items()),
        _unsubscribe(draft.unsubscribe, draft.to[0], claim) if draft.unsubscribe else b"",
        b"MIME-Version: 1.0\r\n",
    ]
    return b"".join(lines)


@lru_cache(maxsize=256)
def _from(sender: Address) -> bytes:
    return mime.address_list("From", [sender])


@lru_cache(maxsize=16)
def _date(at: datetime) -> bytes:
    """The same for all that were claimed within one second."""
    return mime.unstructured("Date", format_datetime(at))


def _correlation(given: str) -> bytes:
    safe = correlation_in_header(given)
    return mime.unstructured("X-Correlation-ID", safe) if safe else b""


def correlation_in_header(given: str) -> str:
    """The correlation id came from outside: only visible ASCII of it is repeated."""
    return _NOT_IN_CORRELATION.sub("", given or "")[:_MAX_CORRELATION_CHARACTERS]


def _unsubscribe(wanted: Unsubscribe, address: Address, claim: Claim) -> bytes:
    """RFC 8058: a link, and that one POST to it is enough."""
    return mime.unstructured("List-Unsubscribe", f"<{unsubscribe_link(wanted, address, claim)}>") + ONE_CLICK


def unsubscribe_link(wanted: Unsubscribe, address: Address, claim: Claim) -> str:
    try:
        return unsubscribing.link(Reader(claim.owner_id, address.spec, wanted.topic, claim.job_id))
    except LookupError:
        raise Transient("PUBLIC_URL is not set for this worker. Set it as for the API.", kind="public_url") from None


def _content(draft: _Draft) -> Part:
    """The text, the HTML, or both as alternatives; with the files beside them."""
    versions = [mime.text_part(kind, text) for kind, text in (("plain", draft.text), ("html", draft.html)) if text]
    if not versions:
        raise ValueError("it has neither text nor html.")
    message = versions[0] if len(versions) == 1 else mime.multipart("alternative", versions)
    if not draft.attachments:
        return message
    return mime.multipart("mixed", [message, *map(_file, draft.attachments)])


def _file(attachment: Attachment) -> Part:
    content = rules.decoded(attachment.content_base64)
    return mime.attachment_part(attachment.filename, attachment.content_type, content)


def _dots_doubled(message: bytes) -> bytes:
    # No first line begins with a dot: it is a header.
    return message.replace(b"\r\n.", b"\r\n..")


# ── One draft per type ────────────────────────────────────────────────────────────────────────


def _draft_of_email(payload: EmailPayload) -> _Draft:
    return _Draft(
        sender=addresses.parse(payload.from_) if payload.from_ else addresses.default_sender(),
        to=addresses.parse_many(payload.to),
        cc=addresses.parse_many(payload.cc),
        bcc=addresses.parse_many(payload.bcc),
        reply_to=addresses.parse_many(payload.reply_to),
        subject=payload.subject,
        text=payload.text or "",
        html=payload.html or "",
        headers=payload.headers,
        attachments=payload.attachments,
        unsubscribe=payload.unsubscribe,
    )


def _draft_of_welcome(payload: WelcomeEmailPayload) -> _Draft:
    sender = addresses.default_sender()
    address = addresses.parse(payload.email)
    context = {"name": payload.name, "email": address.spec, "sender": sender.name or sender.domain}
    return _Draft(
        sender=sender,
        to=[Address(name=" ".join(payload.name.split()), local=address.local, domain=address.domain)],
        subject=_rendered("jobs/welcome_email.subject.txt", context).strip(),
        text=_rendered("jobs/welcome_email.txt", context),
        html=_rendered("jobs/welcome_email.html", context),
    )


def _rendered(template: str, context: dict[str, str]) -> str:
    return _template(template).render(context)


@cache
def _template(name: str) -> Any:
    return get_template(name)


_DRAFTS: dict[type[Struct], Callable[[Any], _Draft]] = {
    EmailPayload: _draft_of_email,
    WelcomeEmailPayload: _draft_of_welcome,
    WrittenEmailPayload: _draft_of_email,
}
