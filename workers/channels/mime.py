"""Header lines and body parts as bytes on the wire (RFC 5322, 2045–2047, 2231, 6532). Pure.

Written out here rather than left to `email.message.EmailMessage`: its folding, in the Python versions we
run on, loses commas between non-ASCII addresses (CVE-2025-1795), unquotes long display names, drops spaces
between encoded words, and encodes the URLs of List-Unsubscribe. It also takes milliseconds where this takes
microseconds. The tests read everything back with the standard library's parser.

All functions raise ValueError for what cannot be written; none lets a line break into a header.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from email.header import Header
from urllib.parse import quote

from jobs.addresses import CONTROL, Address

CRLF = b"\r\n"
FOLD_AT = 78  # RFC 5322 §2.1.1: should
MAX_LINE = 998  # RFC 5322 §2.1.1: must
_MAX_WORD = 75  # RFC 2047 §2
_MAX_PIECE = 54  # so that ` filename*12*=` and a piece fit on one line

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_LOOKS_ENCODED = re.compile(r"=\?[^?]*\?[bBqQ]\?")  # would be decoded by the reader
_CHUNK = re.compile(r" *[^ ]+")
_VISIBLE = re.compile(r"[!-~]+(?: +[!-~]+)*")  # printable ASCII from the first character to the last
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")  # RFC 5322 atext, and spaces between
_PLAIN = b"\t\n" + bytes(range(ord(" "), ord("~") + 1))


@dataclass(frozen=True, slots=True)
class Part:
    """A MIME entity: its content headers, each line with CRLF, and its body, with CRLF line ends."""

    headers: bytes
    body: bytes

    def as_bytes(self) -> bytes:
        return self.headers + CRLF + self.body


# ── Headers ───────────────────────────────────────────────────────────────────────────────────


def unstructured(name: str, value: str) -> bytes:
    """A header of free text: as it is when ASCII, else in encoded words. Folded before spaces."""
    if len(name) + len(value) + 2 <= FOLD_AT and _VISIBLE.fullmatch(value) and "=?" not in value:
        return _short(name, value)  # what most are
    chunks = [value] if len(name) + len(value) + 2 <= FOLD_AT else _CHUNK.findall(value)
    plain = value.isascii() and not _LOOKS_ENCODED.search(value) and value == value.strip(" ")
    if not plain or any(len(chunk) >= MAX_LINE for chunk in chunks):
        chunks = [f" {word}" for word in _encoded_words(value)]
    return _folded(name, chunks)


def address_list(name: str, addresses: Iterable[Address]) -> bytes:
    """A header of mailboxes. A non-ASCII local part is written as UTF-8 (RFC 6532)."""
    addresses = list(addresses)
    if len(addresses) == 1 and not addresses[0].name and len(spec := addresses[0].spec) + len(name) + 2 <= FOLD_AT:
        return _short(name, spec)
    mailboxes = [_mailbox_chunks(address) for address in addresses]
    for chunks in mailboxes[:-1]:
        chunks[-1] += ","
    return _folded(name, [chunk for chunks in mailboxes for chunk in chunks])


def _short(name: str, value: str) -> bytes:
    """One line that needs no folding and no encoding; as `_folded` would write it."""
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!a} is not a header name.")
    return f"{name}: {value}\r\n".encode()


def _mailbox_chunks(address: Address) -> list[str]:
    if not address.name:
        return [f" {address.spec}"]
    return [*_phrase_chunks(address.name), f" <{address.spec}>"]


def _phrase_chunks(text: str) -> list[str]:
    if not text.isascii() or "=?" in text or len(text) > FOLD_AT:
        return [f" {word}" for word in _encoded_words(text)]
    if _ATOMS.fullmatch(text):
        return [f" {word}" for word in text.split()]
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return [f' "{escaped}"']


def _encoded_words(text: str) -> list[str]:
    """RFC 2047 encoded words, each of at most 75 characters, in Q or B, whichever is shorter."""
    _refuse_controls(text)  # before the standard library splits at them
    return Header(text, "utf-8", maxlinelen=_MAX_WORD).encode(linesep="\n").split("\n ")


def _folded(name: str, chunks: list[str]) -> bytes:
    """`name:` and the chunks, each with the spaces before it, on lines of 78 characters where it can be."""
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!a} is not a header name.")
    lines = [f"{name}:"]
    for number, chunk in enumerate(chunks):
        _refuse_controls(chunk)
        spaced = chunk if chunk.startswith(" ") else f" {chunk}"
        # Some readers stumble over a name alone on its line, so the first chunk leaves it only when it must.
        limit = FOLD_AT if number else MAX_LINE
        if len(lines[-1]) + len(spaced) <= limit:
            lines[-1] += spaced
        else:
            lines.append(spaced)
    encoded = [line.encode() for line in lines]
    if max(map(len, encoded)) > MAX_LINE:
        raise ValueError(f"{name} has a word that does not fit on a line.")
    return b"".join(line + CRLF for line in encoded)


def _refuse_controls(text: str) -> None:
    if CONTROL.search(text):
        raise ValueError("A header has a line break or another control character.")


# ── Parts ─────────────────────────────────────────────────────────────────────────────────────


def text_part(subtype: str, text: str) -> Part:
    """text/plain or text/html in UTF-8, in 7-bit lines of at most 998 octets, ending with a line break."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    data = (lines if lines.endswith("\n") else f"{lines}\n").encode()
    encoding, body = _for_seven_bits(data)
    charset = "us-ascii" if data.isascii() else "utf-8"
    return Part(
        headers=f'Content-Type: text/{subtype}; charset="{charset}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n".encode(),
        body=body,
    )


def attachment_part(filename: str, content_type: str, content: bytes) -> Part:
    """A file in base64, to be offered for saving (RFC 2183)."""
    _refuse_controls(content_type)
    if not content_type.isascii():
        raise ValueError("A media type is not ASCII.")
    return Part(
        headers=_folded("Content-Type", [content_type])
        + b"Content-Transfer-Encoding: base64\r\n"
        + _folded("Content-Disposition", [" attachment;", *_filename_chunks(filename)]),
        body=_base64_lines(content),
    )


def multipart(subtype: str, parts: list[Part]) -> Part:
    """Parts under a boundary that nobody can have foreseen."""
    boundary = f"=_{secrets.token_hex(16)}".encode()
    opened = b"".join(b"--" + boundary + CRLF + part.as_bytes() + CRLF for part in parts)
    return Part(
        headers=f'Content-Type: multipart/{subtype};\r\n boundary="{boundary.decode()}"\r\n'.encode(),
        body=opened + b"--" + boundary + b"--\r\n",
    )


def _for_seven_bits(data: bytes) -> tuple[str, bytes]:
    """The encoding that keeps `data` (LF line ends) within 7 bits and short lines, and the encoded lines."""
    odd = len(data.translate(None, delete=_PLAIN))
    if not odd and max(map(len, data.split(b"\n"))) <= MAX_LINE - 1:  # one octet is for the dot's double
        return "7bit", data.replace(b"\n", CRLF)
    if odd * 3 > len(data):  # Latin scripts stay legible in the source, others would triple
        return "base64", _base64_lines(data.replace(b"\n", CRLF))
    return "quoted-printable", binascii.b2a_qp(data).replace(b"\n", CRLF)


def _base64_lines(content: bytes) -> bytes:
    line = 57  # octets, which make 76 characters
    chunks = (content[start : start + line] for start in range(0, len(content), line))
    return b"".join(binascii.b2a_base64(chunk, newline=False) + CRLF for chunk in chunks)


def _filename_chunks(filename: str) -> list[str]:
    """The filename parameter: quoted when ASCII, else percent-encoded in pieces (RFC 2231 §3, §4)."""
    _refuse_controls(filename)
    if filename.isascii() and "=?" not in filename:
        escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
        return [f' filename="{escaped}"']
    pieces = _percent_encoded(filename)
    if len(pieces) == 1:
        return [f" filename*={pieces[0]}"]
    chunks = [f" filename*{number}*={piece};" for number, piece in enumerate(pieces)]
    return [*chunks[:-1], chunks[-1].rstrip(";")]


def _percent_encoded(text: str) -> list[str]:
    """`text` in short pieces, cut between characters: many readers decode piece by piece."""
    pieces = ["utf-8''"]
    for character in text:
        encoded = quote(character, safe="")
        if len(pieces[-1]) + len(encoded) > _MAX_PIECE:
            pieces.append("")
        pieces[-1] += encoded
    return pieces
