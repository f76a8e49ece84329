"""Facts of a job as HTML for people. Whatever came from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs.models import Attempt, Event

SHOWN_CHARACTERS = 20_000


def as_text(value: Any) -> SafeString | str:
    """JSON for people, escaped, and cut where an attachment would fill the page."""
    if value is None:
        return "-"
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[:SHOWN_CHARACTERS]}\n… and {len(text) - SHOWN_CHARACTERS} more characters"
    return format_html('<pre class="overflow-auto whitespace-pre-wrap break-words">{}</pre>', text)


def as_history(job_id: UUID) -> SafeString | str:
    """What was tried for a job, oldest first; the other side's words are escaped."""
    attempts = Attempt.objects.filter(job_id=job_id).order_by("id")
    lines = format_html_join(
        "",
        "<li><b>{}. {}</b> {} {} {} {}<br>{}</li>",
        (
            (
                a.number,
                a.outcome,
                f"{a.ended_at:%Y-%m-%d %H:%M:%S} UTC",
                a.provider or "",
                a.kind or "",
                "" if a.code is None else a.code,
                a.detail,
            )
            for a in attempts
        ),
    )
    return format_html("<ol>{}</ol>", lines) if lines else "-"


def as_events(job_id: UUID) -> SafeString | str:
    """What email services told of a job's mail, oldest first; their words are escaped."""
    lines = format_html_join(
        "",
        "<li><b>{}</b> {} {} {} {}<br>{}</li>",
        (
            (e.kind, e.recipient, f"{e.at:%Y-%m-%d %H:%M:%S} UTC", e.esp, e.reason, e.detail)
            for e in Event.objects.filter(job_id=job_id).order_by("at", "id")
        ),
    )
    return format_html("<ol>{}</ol>", lines) if lines else "-"


def as_evidence(answers: Sequence[Mapping[str, Any]]) -> SafeString | str:
    """What a provider said when it was asked about an unknown, oldest first; its words are escaped."""
    lines = format_html_join(
        "",
        "<li><b>{}</b> {}, asked {} UTC<br>{}</li>",
        (
            (
                VERDICTS[answer.get("accepted")],
                answer.get("source") or "",
                (answer.get("asked_at") or "")[:19].replace("T", " "),
                answer.get("detail") or "",
            )
            for answer in answers
        ),
    )
    return format_html("<ol>{}</ol>", lines) if lines else "-"


VERDICTS = {True: "It has the message.", False: "It does not have the message.", None: "It cannot say."}
