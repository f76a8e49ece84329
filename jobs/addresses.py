"""Email addresses: how a string becomes one, and how it looks on an envelope. Ground; no I/O.

Syntax is email-validator's (RFC 5321/5322 without quoted local parts, comments and address literals). Domains
come out as lower-case ASCII (IDNA 2008), so that only a non-ASCII local part needs SMTPUTF8 (RFC 6531).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from email_validator import EmailNotValidError, validate_email
from msgspec import Struct

MAX_NAME_CHARACTERS = 200
MAX_CHARACTERS = 1000  # of name and address together, before anything is parsed
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SURROGATE = re.compile("[\ud800-\udfff]")

_WITH_NAME = re.compile(r"(?P<name>.*?)\s*<(?P<spec>[^<>]*)>", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
# What most addresses look like. Of these the library has to judge the domain only, which many have in common.
_PLAIN = re.compile(r"(?P<local>[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@(?P<domain>[A-Za-z0-9.-]+)")
_MAX_PLAIN_CHARACTERS = 254  # RFC 5321 §4.5.3.1.3, as errata 1690 of RFC 3696 reads it
# Unquoted, these mean something else than a name: most often two addresses in one string.
_NOT_IN_PLAIN_NAME = re.compile(r'[<>@,;"\\]')
_SHAPE = "Write it as ann@example.org or Ann Smith <ann@example.org>."


class Address(Struct, frozen=True):
    """One mailbox. `domain` is lower-case ASCII; `name` is the display name on one line, or empty."""

    name: str
    local: str
    domain: str

    @property
    def spec(self) -> str:
        """The bare address, as it stands on the envelope."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        return not self.local.isascii()


@lru_cache(maxsize=2048)
def parse(text: str) -> Address:
    """The address in `text`, with or without a display name.

    Raises ValueError with a sentence that names the remedy. Deliverability (DNS) is not looked at.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters, too many for one address. {_SHAPE}")
    text = text.strip(" ")
    _refuse_unwritable(text)
    if not text:
        raise ValueError(f"is empty. {_SHAPE}")
    with_name = _WITH_NAME.fullmatch(text)
    name, spec = (_plain_name(with_name["name"]), with_name["spec"]) if with_name else ("", text)
    if "," in spec or ";" in spec:
        raise ValueError("holds more than one address. Give a list with one address per string.")
    return _validated(name, spec)


def parse_many(texts: str | list[str] | None) -> list[Address]:
    """The addresses of a field that may be absent, one string or a list. Raises ValueError."""
    return [parse(text) for text in as_list(texts)]


def as_list(texts: str | list[str] | None) -> list[str]:
    if texts is None:
        return []
    return [texts] if isinstance(texts, str) else texts


def default_sender() -> Address:
    """DEFAULT_FROM_EMAIL. Raises ImproperlyConfigured when it is no address."""
    try:
        return parse(settings.DEFAULT_FROM_EMAIL)
    except ValueError as error:
        raise ImproperlyConfigured(f"DEFAULT_FROM_EMAIL {settings.DEFAULT_FROM_EMAIL!r} {error}") from error


def may_send(sender: Address, allowed: tuple[str, ...]) -> bool:
    """Whether `sender` is DEFAULT_FROM_EMAIL's address or among `allowed` (addresses and @domains)."""
    return sender.spec == default_sender().spec or not permitted_senders(allowed).isdisjoint(
        {sender.spec, f"@{sender.domain}"}
    )


@cache
def permitted_senders(allowed: tuple[str, ...]) -> frozenset[str]:
    """Allowed senders in the form addresses are compared in: domains in lower-case ASCII."""
    try:
        return frozenset(
            f"@{parse('any' + entry).domain}" if entry.startswith("@") else parse(entry).spec for entry in allowed
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"ALLOWED_SENDERS has an entry that {error}") from error


def _refuse_unwritable(text: str) -> None:
    if CONTROL.search(text):
        raise ValueError("has a line break or another control character. Remove it.")
    if SURROGATE.search(text):
        raise ValueError("has half of a surrogate pair, which is no character. Send valid UTF-8.")


def _plain_name(given: str) -> str:
    given = given.strip()
    quoted = _QUOTED.fullmatch(given)
    if quoted:
        given = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _NOT_IN_PLAIN_NAME.search(given):
        raise ValueError(
            'has a display name with one of < > @ , ; " \\. Put the name in double quotes: '
            '"Smith, Ann" <ann@example.org>. Several addresses go into a list.'
        )
    name = " ".join(given.split())
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"has a display name of more than {MAX_NAME_CHARACTERS} characters. Shorten it.")
    return name


def _validated(name: str, spec: str) -> Address:
    plain = _PLAIN.fullmatch(spec) if len(spec) <= _MAX_PLAIN_CHARACTERS else None
    if plain and "--" not in spec:  # which may be Punycode, and longer than it looks
        return Address(name=name, local=plain["local"], domain=_ascii_domain(plain["domain"]))
    local, domain = _judged(spec)
    return Address(name=name, local=local, domain=domain)


@lru_cache(maxsize=2048)
def _ascii_domain(domain: str) -> str:
    return _judged(f"a@{domain}")[1]


def _judged(spec: str) -> tuple[str, str]:
    """Local part and ASCII domain, by the library; takes some 25 µs."""
    try:
        found = validate_email(spec, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an email address: {str(error).rstrip('.')}. {_SHAPE}") from None
    return found.local_part, found.ascii_domain
