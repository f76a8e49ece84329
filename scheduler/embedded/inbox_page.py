"""Shows the local inbox at /inbox. Only where the inbox runs: in DEBUG and with INBOX_DIR set.

A mail is foreign content: its text is escaped by the template, its HTML shown in a frame that may
run nothing, and the page's policy forbids scripts and anything from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from jobs.conf import tunables
from scheduler.embedded.inbox_folder import Inbox

SHOWN = 100
TABS = ("text", "html", "source")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'"
)


@dataclass(frozen=True)
class Letter:
    """A mail taken apart as far as its sender's format allows."""

    subject: str
    headers: list[tuple[str, str]]
    text: str | None
    html: str | None
    attachments: list[tuple[str, str, int]]  # name, type, bytes


def inbox_list(request: HttpRequest) -> HttpResponse:
    inbox = _inbox()
    rows = [(mail, open_letter(inbox.source(mail)).subject) for mail in inbox.newest(SHOWN)]
    return _page(request, "inbox/list.html", {"rows": rows, "total": len(inbox.ids()), "shown": SHOWN})


def inbox_mail(request: HttpRequest, id: str) -> HttpResponse:
    inbox = _inbox()
    mail = inbox.find(id)
    if mail is None:
        raise Http404("No such mail.")
    source = inbox.source(mail)
    letter = open_letter(source)
    tab = request.GET.get("show")
    if tab not in TABS:
        tab = "text" if letter.text is not None or letter.html is None else "html"
    shown = {"mail": mail, "letter": letter, "tab": tab, "tabs": TABS, "source": source.decode(errors="replace")}
    return _page(request, "inbox/mail.html", shown)


def open_letter(source: bytes) -> Letter:
    """Never raises: what cannot be read is left out, and the source tab has it all."""
    message = BytesParser(policy=policy.default).parsebytes(source)
    assert isinstance(message, EmailMessage)
    return Letter(
        subject=_header(message, "Subject") or "(no subject)",
        headers=[(name, _header(message, name)) for name in _names(message)],
        text=_body(message, "plain"),
        html=_body(message, "html"),
        attachments=_attachments(message),
    )


def _inbox() -> Inbox:
    folder = tunables().inbox_dir
    if not settings.DEBUG or folder is None:
        raise Http404("There is no local inbox here.")
    return Inbox(folder)


def _page(request: HttpRequest, template: str, shown: dict[str, object]) -> HttpResponse:
    response = render(request, template, shown)
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "no-store"
    return response


def _names(message: EmailMessage) -> list[str]:
    present = {name.lower() for name in message.keys()}  # noqa: SIM118 - a message is no dict
    wanted = ("Date", "From", "To", "Cc", "Reply-To", "Subject", "Message-ID", "X-Job-ID", "X-Correlation-ID")
    return [name for name in wanted if name.lower() in present]


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except Exception:  # the parser of structured headers trips over some malformed ones
        return "(unreadable)"


def _body(message: EmailMessage, kind: str) -> str | None:
    try:
        part = message.get_body(preferencelist=(kind,))
        return None if part is None else str(part.get_content())
    except Exception:  # unknown charsets, broken encodings, parts nested beyond reason
        return None


def _attachments(message: EmailMessage) -> list[tuple[str, str, int]]:
    try:
        return [
            (part.get_filename() or "(unnamed)", part.get_content_type(), len(part.get_payload(decode=True) or b""))
            for part in message.iter_attachments()
        ]
    except Exception:  # likewise
        return []


urlpatterns = [
    path("inbox", inbox_list, name="inbox"),
    path("inbox/<str:id>", inbox_mail, name="inbox_mail"),
]
