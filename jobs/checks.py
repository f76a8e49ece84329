"""What settings must obey: nonsense refuses to start (errors), doubtful values warn. Each has an id and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host

from jobs import addresses, redis_client, types
from jobs.conf import Tunables, tunables
from jobs.states import OnUnknown

POSITIVE = (
    "max_attempts",
    "retry_base_seconds",
    "retry_cap_seconds",
    "lease_seconds",
    "heartbeat_seconds",
    "poison_deaths",
    "worker_concurrency",
    "put_back_seconds",
    "connect_timeout_seconds",
    "command_timeout_seconds",
    "dot_timeout_seconds",
    "gate_ttl_seconds",
    "idempotency_hours",
    "keep_completed_days",
    "keep_bodies_days",
    "keep_decided_days",
    "max_body_bytes",
    "max_attachment_body_bytes",
    "max_recipients",
)
SHORTEST_HS256_KEY = 32  # bytes: RFC 7518 §3.2
RFC_DOT_SECONDS = 600  # RFC 5321 §4.5.3.2.6
SHORTEST_EVENT_SECRET = 16  # characters
LONGEST_PUBLIC_URL = 200  # characters: with the token, the link has to fit on a line of a mail (998)
SHORTEST_LEASE_SECONDS = 5  # a worker's threads tick once a second, and it falls silent after half a lease without


@register(Tags.security)
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Sendonce's own checks, `sendonce.E…` and `sendonce.W…`."""
    conf = tunables()
    return [
        *_numbers(conf),
        *_lease(conf),
        *_sizes(conf),
        *_redis(conf),
        *_providers(conf),
        *_types(conf),
        *_events(conf),
        *_unknowns(conf),
        *_senders(conf),
        *_public_url(conf),
        *_keys(),
        *_hosts(),
    ]


def _numbers(conf: Tunables) -> Iterator[CheckMessage]:
    for name in POSITIVE:
        value = getattr(conf, name)
        if not value > 0:
            yield _error("E001", f"{name.upper()} is {value}.", "Set it to more than 0.")
    if not 0 <= conf.retry_jitter < 1:
        yield _error("E002", f"RETRY_JITTER is {conf.retry_jitter}.", "Set it to 0 or more and below 1: 0.2 is ±20 %.")
    if conf.retry_cap_seconds < conf.retry_base_seconds:
        yield _error(
            "E003",
            "RETRY_CAP_SECONDS is below RETRY_BASE_SECONDS.",
            "Set the cap, the longest wait, to the base or more.",
        )
    if conf.drain_seconds < 0:
        yield _error("E004", f"DRAIN_SECONDS is {conf.drain_seconds}.", "Set it to 0 or more.")


def _lease(conf: Tunables) -> Iterator[CheckMessage]:
    if conf.heartbeat_seconds * 2 >= conf.lease_seconds:
        yield _error(
            "E005",
            f"HEARTBEAT_SECONDS ({conf.heartbeat_seconds}) leaves no room for a late beat within "
            f"LEASE_SECONDS ({conf.lease_seconds}): live workers would be declared dead.",
            "Keep LEASE_SECONDS above twice HEARTBEAT_SECONDS; 30 and 5 are the defaults.",
        )
    if conf.lease_seconds < SHORTEST_LEASE_SECONDS:
        yield _warning(
            "W004",
            f"LEASE_SECONDS is {conf.lease_seconds}: a busy moment is enough to declare a live worker dead.",
            f"Set it to {SHORTEST_LEASE_SECONDS} or more; 30 is the default.",
        )
    if conf.dot_timeout_seconds < RFC_DOT_SECONDS:
        yield _warning(
            "W001",
            f"DOT_TIMEOUT_SECONDS ({conf.dot_timeout_seconds}) is shorter than servers may take: "
            "more messages than necessary become unknown.",
            f"Set it to {RFC_DOT_SECONDS} (RFC 5321 §4.5.3.2.6).",
        )


def _sizes(conf: Tunables) -> Iterator[CheckMessage]:
    if conf.max_body_bytes > conf.max_attachment_body_bytes:
        yield _error(
            "E006",
            "MAX_BODY_BYTES is above MAX_ATTACHMENT_BODY_BYTES.",
            "Bodies with attachments are the larger ones: raise MAX_ATTACHMENT_BODY_BYTES.",
        )


def _redis(conf: Tunables) -> Iterator[CheckMessage]:
    try:
        redis_client.understand(conf.redis_url)
    except ImproperlyConfigured as error:
        yield _error("E011", str(error), "Example: redis://127.0.0.1:6379/0")


def _providers(conf: Tunables) -> Iterator[CheckMessage]:
    if not conf.email_providers:
        yield _error(
            "E007",
            "EMAIL_PROVIDERS is empty: no email could be sent.",
            "Name at least one: main=smtp+tls://user:pass@host:587",
        )


def _types(conf: Tunables) -> Iterator[CheckMessage]:
    emails = [type.name for type in types.every() if not type.handler and not type.destination]
    for type, alias in conf.type_providers.items():
        if type not in emails:
            known = ", ".join(emails)
            yield _error("E020", f"TYPE_PROVIDERS names {type!r}, which is no type of email.", f"Types: {known}.")
        if alias not in conf.email_providers:
            known = ", ".join(conf.email_providers)
            yield _error("E020", f"TYPE_PROVIDERS: {type!r} has no provider {alias!r}.", f"Aliases: {known}.")


def _events(conf: Tunables) -> Iterator[CheckMessage]:
    for name, _, secret in (entry.partition(":") for entry in conf.event_secrets):
        if not name or len(secret) < SHORTEST_EVENT_SECRET:  # not shown
            yield _error(
                "E021",
                f"EVENT_SECRETS has an entry that is no name, a colon and at least {SHORTEST_EVENT_SECRET} characters.",
                "python -c \"import secrets; print('events:' + secrets.token_hex(16))\"",
            )
    if conf.event_keys and not conf.event_secrets:
        yield _warning(
            "W020",
            "EVENT_KEYS is set, but without EVENT_SECRETS no email service can tell anything.",
            "Set EVENT_SECRETS, too, or take EVENT_KEYS out.",
        )


def _unknowns(conf: Tunables) -> Iterator[CheckMessage]:
    for type, policy in conf.on_unknown.items():
        if types.find(type) is None:
            known = ", ".join(types.names())
            yield _error("E012", f"ON_UNKNOWN names a type that does not exist: {type!r}.", f"Types: {known}.")
        if policy not in set(OnUnknown):
            yield _error(
                "E012", f"ON_UNKNOWN: {type!r} has no policy {policy!r}.", f"Use one of: {', '.join(OnUnknown)}."
            )
    for alias in conf.evidence_sources.keys() - conf.email_providers.keys():
        # Where the alias was forgotten, this is a piece of the URL: not shown.
        shown = repr(alias) if alias.replace("-", "_").isidentifier() else "something"
        yield _error(
            "E013",
            f"EVIDENCE_SOURCES names {shown} that is no alias of EMAIL_PROVIDERS.",
            f"Write alias=URL with one of: {', '.join(conf.email_providers)}.",
        )


def _senders(conf: Tunables) -> Iterator[CheckMessage]:
    try:
        addresses.default_sender()
        addresses.permitted_senders(conf.allowed_senders)
    except ImproperlyConfigured as error:
        yield _error("E010", str(error), "Without a valid sender no email can be written.")


def _public_url(conf: Tunables) -> Iterator[CheckMessage]:
    """RFC 8058 §3.1 wants https; http is for trying it out."""
    if not conf.public_url:
        return
    try:
        url = urlsplit(conf.public_url)
        host, _ = url.hostname, url.port
    except ValueError:
        url, host = urlsplit(""), None
    is_secure = url.scheme == "https" or (url.scheme == "http" and settings.DEBUG)
    if not host or not is_secure or url.query or url.fragment or url.username or not _is_one_word(conf.public_url):
        yield _error(
            "E014",
            "PUBLIC_URL is not an https:// address without user, query and fragment: mail programs would not use the "
            "links to unsubscribe.",
            "Set it to the address under which readers of your mails reach this API: https://mail.example.org",
        )
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        yield _warning(
            "W005",
            f"The host of PUBLIC_URL, {host}, is not one of ALLOWED_HOSTS: links to unsubscribe would be answered 400.",
            "Add it, unless something in front of the API puts another host in its place.",
        )


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and len(text) <= LONGEST_PUBLIC_URL


def _keys() -> Iterator[CheckMessage]:
    jwt = settings.SIMPLE_JWT
    length = len((jwt["SIGNING_KEY"] or "").encode())
    if jwt["ALGORITHM"].startswith("HS") and length < SHORTEST_HS256_KEY and not settings.DEBUG:
        yield _error(
            "E008",
            f"JWT_SIGNING_KEY has {length} bytes: tokens signed with it can be forged.",
            f"Set it to at least {SHORTEST_HS256_KEY} random characters, or use JWT_PRIVATE_KEY and JWT_PUBLIC_KEY.",
        )
    if jwt["ALGORITHM"].startswith("HS") and jwt["VERIFYING_KEY"]:
        yield _error(
            "E009",
            f"JWT_ALGORITHM is {jwt['ALGORITHM']}, but there is a key pair.",
            "Set JWT_ALGORITHM to RS256 or EdDSA, or leave it out.",
        )


def _hosts() -> Iterator[CheckMessage]:
    if "*" in settings.ALLOWED_HOSTS:
        yield _warning(
            "W002",
            "ALLOWED_HOSTS is *: links in answers (next, previous) follow whatever Host a client sends.",
            "Name the hosts that this API answers to.",
        )
    if settings.SENDONCE["signup_open"] and not settings.DEBUG:
        yield _warning("W003", "SIGNUP_OPEN is on: anyone may make an account and send.", "Switch it off.")


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"sendonce.{number}")


def _warning(number: str, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"sendonce.{number}")
