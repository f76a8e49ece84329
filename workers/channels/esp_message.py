"""The letter as email services take it: a Django message with structured parts, from the same draft as the bytes."""

from __future__ import annotations

from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import EmailAttachment

from jobs import rules
from jobs.addresses import Address
from jobs.claims import Claim
from jobs.emails import Attachment
from jobs.errors import Invalid
from jobs.events import JOB_IN_METADATA
from workers.channels.letter import Letter, correlation_in_header, unsubscribe_link


def write(letter: Letter, *, metadata: bool, tags: bool) -> EmailMultiAlternatives:
    """`metadata`, `tags`: whether the service takes such."""
    assert letter.origin is not None
    draft, claim = letter.origin.draft, letter.origin.claim

    to, cc, bcc = _fields(letter)
    message = EmailMultiAlternatives(
        subject=draft.subject,
        body=draft.text or draft.html,
        from_email=mailbox(draft.sender),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=[mailbox(address) for address in draft.reply_to],
        headers=_headers(letter.message_id, draft, claim),
    )
    if draft.text and draft.html:
        message.attach_alternative(draft.html, "text/html")
    elif draft.html:
        message.content_subtype = "html"
    # Not by `attach`, which would decode texts.
    message.attachments += [_file(attachment) for attachment in draft.attachments]
    if metadata:
        message.metadata = {JOB_IN_METADATA: str(claim.job_id)}  # type: ignore[attr-defined]
    if tags:
        message.tags = [claim.type]  # type: ignore[attr-defined]
    return message


def _fields(letter: Letter) -> tuple[list[str], list[str], list[str]]:
    """To, cc and bcc, of those on the envelope (here there is no other way to leave somebody out), each of them once.

    Services want somebody in `to`: when nobody is left there, those in cc are addressed, or one alone in bcc. Several
    in bcc must not see each other: Invalid.
    """
    assert letter.origin is not None
    draft, left = letter.origin.draft, set(letter.recipients)
    to, cc, bcc = fields = [], [], []  # type: tuple[list[str], list[str], list[str]]
    for field, addresses in zip(fields, (draft.to, draft.cc, draft.bcc), strict=True):
        for address in addresses:
            if address.spec in left:
                left.discard(address.spec)
                field.append(mailbox(address))
    if to:
        return to, cc, bcc
    if cc:
        return cc, [], bcc
    if len(bcc) == 1:
        return bcc, [], []
    raise Invalid(
        "Nobody is left in `to` and `cc`, and those in `bcc` must not see each other: this goes by SMTP only.",
        kind="esp_unsupported",
    )


def _headers(message_id: str, draft: Any, claim: Claim) -> dict[str, str]:
    """Those that the letter has, save what the service writes itself."""
    headers = {
        "Message-ID": message_id,
        "X-Job-ID": str(claim.job_id),
        "X-Correlation-ID": correlation_in_header(claim.correlation_id),
        **{name: value.strip(" ") for name, value in draft.headers.items()},
    }
    if draft.unsubscribe:
        headers["List-Unsubscribe"] = f"<{unsubscribe_link(draft.unsubscribe, draft.to[0], claim)}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return {name: value for name, value in headers.items() if value}


def mailbox(address: Address) -> str:
    """Non-ASCII as it is: the service's backend encodes."""
    if not address.name:
        return address.spec
    escaped = address.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address.spec}>'


def _file(attachment: Attachment) -> EmailAttachment:
    """anymail reads texts as UTF-8; one that is none goes as the bytes that it is."""
    content = rules.decoded(attachment.content_base64)
    kind = attachment.content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/"):
        try:
            content.decode()
        except UnicodeDecodeError:
            kind = "application/octet-stream"
    return EmailAttachment(attachment.filename, content, kind)
