"""The letter as email services take it: a Django message with structured parts, from the same draft as the bytes."""

from __future__ import annotations

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import EmailAttachment

from jobs import rules
from jobs.addresses import Address
from jobs.emails import Attachment
from jobs.events import JOB_IN_METADATA
from workers.channels.letter import Letter, correlation_in_header


def write(letter: Letter, *, metadata: bool, tags: bool) -> EmailMultiAlternatives:
    """`metadata`, `tags`: whether the service takes such."""
    assert letter.origin is not None
    draft, claim = letter.origin.draft, letter.origin.claim
    headers = {
        "Message-ID": letter.message_id,
        "X-Job-ID": str(claim.job_id),
        "X-Correlation-ID": correlation_in_header(claim.correlation_id),
        **{name: value.strip(" ") for name, value in draft.headers.items()},
    }
    message = EmailMultiAlternatives(
        subject=draft.subject,
        body=draft.text or draft.html,
        from_email=mailbox(draft.sender),
        to=[mailbox(address) for address in draft.to],
        cc=[mailbox(address) for address in draft.cc],
        bcc=[mailbox(address) for address in draft.bcc],
        reply_to=[mailbox(address) for address in draft.reply_to],
        headers={name: value for name, value in headers.items() if value},
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
