"""What an SMTP server says, and what it means for the message.

Replies are parsed as they arrive, within bounds, and cleaned of control characters: their words
end in PostgreSQL rows (PROTOCOL rule 15). Nothing here touches the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from jobs import errors

MAX_LINE: Final = 2_048  # bytes; RFC 5321 §4.5.3.1.5 asks for 512, servers with long policies exceed it
MAX_LINES: Final = 200  # per reply
MAX_PENDING: Final = 128 * 1024  # bytes that nobody asked for yet; fifty refused recipients fit many times
MAX_DETAIL: Final = 500  # characters

_LINE = re.compile(rb"([1-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Garbled(Exception):
    """The server does not speak SMTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply, however many lines it took (RFC 5321 §4.2.1).

    `enhanced` is the RFC 3463 status ("5.1.1") where one was given; `text` is the rest, sanitised.
    """

    code: int
    enhanced: str | None = None
    text: str = ""
    lines: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_refusal(self) -> bool:
        return self.code >= 400

    @property
    def is_closing(self) -> bool:
        """The server will close the connection (RFC 5321 §3.8)."""
        return self.code == 421

    @property
    def contradicts_itself(self) -> bool:
        """The enhanced status names another class than the code, as in `550 4.2.2`."""
        return self.enhanced is not None and self.enhanced[0] != str(self.code)[0]

    @property
    def detail(self) -> str:
        """The words for people: enhanced status and text, at most 500 characters."""
        return " ".join(part for part in (self.enhanced, self.text) if part)[:MAX_DETAIL]

    @classmethod
    def of(cls, code: int, lines: list[str]) -> Reply:
        enhanced, texts = None, []
        for line in lines:
            if status := _ENHANCED.match(line):
                enhanced = enhanced or status[1]
                line = line[status.end() :]
            texts.append(line.strip())
        text = " ".join(filter(None, texts))[:MAX_DETAIL]
        return cls(code, enhanced, text, tuple(lines))


class ReplyParser:
    """Bytes in, whole replies out.

    `feed` never raises, for it is called from the event loop; what is wrong with the input is told
    by `take` as Garbled, and every time from then on: after garbage nothing can be trusted.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code: int | None = None
        self._lines: list[str] = []
        self._garbled: str | None = None

    @property
    def has_input(self) -> bool:
        """Something arrived that was not taken, be it half a line."""
        return bool(self._buffer or self._lines or self._garbled)

    @property
    def is_garbled(self) -> bool:
        return self._garbled is not None

    def feed(self, data: bytes) -> None:
        if self._garbled:
            return
        self._buffer += data
        if len(self._buffer) > MAX_PENDING:
            self._give_up("The server sent far more than it was asked for.")

    def take(self) -> Reply | None:
        """The next whole reply, or None while there is none. Raises Garbled."""
        while not self._garbled:
            end = self._buffer.find(b"\n")
            if end < 0 or end > MAX_LINE:
                if len(self._buffer) > MAX_LINE:
                    self._give_up("The server sent a line without end.")
                    break
                return None
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._code is None and (single := _single_line(line)) is not None:
                return single
            if (reply := self._read(line)) is not None:
                return reply
        raise Garbled(self._garbled)

    def _read(self, line: bytes) -> Reply | None:
        match = _LINE.fullmatch(line)
        if match is None:
            self._give_up("The server sent something that is no SMTP reply.")
            return None
        code = int(match[1])
        if self._code not in (None, code):
            self._give_up("The server changed its code in the middle of a reply.")
            return None
        self._code = code
        self._lines.append(sanitised(match[3] or b""))
        if match[2] == b"-":
            if len(self._lines) >= MAX_LINES:
                self._give_up("The server sent a reply without end.")
            return None
        lines, self._lines, self._code = self._lines, [], None
        return Reply.of(code, lines)

    def _give_up(self, why: str) -> None:
        self._garbled = why
        self._buffer.clear()
        self._lines.clear()


@lru_cache(maxsize=256)
def _single_line(line: bytes) -> Reply | None:
    """A whole reply of one line; None for a part of one, and for what is none. Servers say the same again and again."""
    match = _LINE.fullmatch(line)
    return Reply.of(int(match[1]), [sanitised(match[3] or b"")]) if match and match[2] != b"-" else None


def sanitised(raw: bytes) -> str:
    """The words without control characters, NUL among them; what is no UTF-8 shows as U+FFFD."""
    return _CONTROL.sub(" ", raw.decode("utf-8", "replace")).strip()


# ── Verdicts ──────────────────────────────────────────────────────────────────────────────────

# Kinds are a bounded vocabulary: they label metrics.
_KIND_OF_STATUS: Final = {  # RFC 3463 and the IANA registry: subject.detail
    "2.2": "smtp_mailbox_full",
    "2.3": "smtp_too_big",
    "3.4": "smtp_too_big",
    "5.3": "smtp_too_many_recipients",
}
_KIND_OF_SUBJECT: Final = {
    "1": "smtp_mailbox_unavailable",
    "2": "smtp_mailbox_unavailable",
    "4": "smtp_routing",
    "6": "smtp_content",
    "7": "smtp_policy",
}
_KIND_OF_CODE: Final = {
    450: "smtp_mailbox_unavailable",
    550: "smtp_mailbox_unavailable",
    551: "smtp_mailbox_unavailable",
    553: "smtp_mailbox_unavailable",
    552: "smtp_too_big",
}
_AUTH_CODES: Final = frozenset({530, 534, 535, 538})  # RFC 4954 §6
_GREYLIST = re.compile(r"gr[ae]y[- ]?list", re.IGNORECASE)
_TOO_MANY = re.compile(r"too many (recipients|addresses)", re.IGNORECASE)


def verdict(reply: Reply) -> errors.Transient | errors.Permanent:
    """What a refusal (4xx, 5xx) means for the message.

    The basic code decides between again and never; the enhanced status only names the kind. Where
    both disagree (`550 4.2.2`) the basic code is followed, as RFC 5321 §4.2 obliges every client to,
    and the detail says so. Two 5xx are nevertheless worth another try:

    - "authentication required or failed" (530, 534, 535, 538): it speaks of the operator's
      configuration, not of this message, and must not turn everybody's mail into dead letters
      within the minute it takes to correct a password;
    - 552 for "too many recipients", which RFC 5321 §4.5.3.1.10 asks to read as 452.
    """
    kind = _kind(reply)
    detail = reply.detail
    if reply.contradicts_itself:
        detail = f"{detail[: MAX_DETAIL - 60]} (the codes disagree: {reply.code} and {reply.enhanced})"
    if reply.code < 500 or kind == "smtp_auth" or (reply.code == 552 and kind == "smtp_too_many_recipients"):
        return errors.Transient(detail, kind=kind, code=reply.code)
    return errors.Permanent(detail, kind=kind, code=reply.code)


def _kind(reply: Reply) -> str:
    if reply.is_closing:
        return "smtp_closing"
    if reply.code in _AUTH_CODES:
        return "smtp_auth"
    if reply.code < 500 and _GREYLIST.search(reply.text):
        return "smtp_greylisted"
    if reply.code in (452, 552) and _TOO_MANY.search(reply.text):
        return "smtp_too_many_recipients"
    return _kind_of_status(reply.enhanced) or _KIND_OF_CODE.get(reply.code) or f"smtp_{reply.code // 100}xx"


def _kind_of_status(enhanced: str | None) -> str | None:
    if enhanced is None:
        return None
    _, subject, detail = enhanced.split(".")
    return _KIND_OF_STATUS.get(f"{subject}.{detail}") or _KIND_OF_SUBJECT.get(subject)
