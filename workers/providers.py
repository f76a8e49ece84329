"""Email providers: aliases of SMTP relays, as EMAIL_PROVIDERS names them.

    smtp://host[:25]        in the clear, or STARTTLS where the server offers it
    smtp+tls://host[:587]   STARTTLS required, certificate verified
    smtps://host[:465]      TLS from the first byte, certificate verified

User and password are percent-encoded. Behind the host may stand, after `?` and with `&` between them:

    ca=/path/ca.pem         trusts a private authority
    connections=20          the most that one worker process opens at once (64)
    rate=14/s;50000/d       the most that all workers together give it (jobs/rates.py)
    then=backup             the provider that is tried when this one provably did not take a message

Or of services that are reached over HTTP (workers/esp_endpoint.py).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from jobs import rates
from jobs.conf import tunables
from jobs.rates import Rate
from workers import esp_endpoint
from workers.esp_endpoint import EspEndpoint, wrong

Security = Literal["opportunistic", "starttls", "tls"]

SCHEMES: Final[dict[str, tuple[Security, int]]] = {
    "smtp": ("opportunistic", 25),
    "smtp+tls": ("starttls", 587),
    "smtps": ("tls", 465),
}
OPTIONS: Final = frozenset({"ca", "connections", "rate", "then"})
CONNECTIONS: Final = 64
MOST_CONNECTIONS: Final = 10_000
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_EXAMPLE: Final = "Example: main=smtp+tls://user:pass@smtp.example.com:587"
_ENCODE: Final = "Percent-encode special characters in user and password (@ is %40, : is %3A, / is %2F, # is %23)."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One SMTP relay and how to reach it. The password shows in no repr."""

    alias: str
    host: str
    port: int
    security: Security = "opportunistic"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    connections: int = CONNECTIONS  # at most, from one worker process
    rates: tuple[Rate, ...] = ()  # at most, from all of them; none: as fast as it goes
    then: str | None = None  # the alias that stands in for it

    @property
    def has_credentials(self) -> bool:
        return self.username is not None

    @property
    def verifies(self) -> bool:
        """Whether the server must prove its name.

        Opportunistic encryption without a secret to protect keeps listeners out and asks no more:
        a strict check would only push the mail back into the clear. A password is worth a proof.
        """
        if self.security != "opportunistic" or self.ca_file is not None:
            return True
        return self.has_credentials and not is_loopback(self.host)

    def tls_context(self) -> ssl.SSLContext:
        """A fresh client context; raises ImproperlyConfigured when the CA file cannot be read."""
        if not self.verifies:  # nor are the machine's authorities read: some megabytes
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            raise wrong(self.alias, f"cannot read the CA file {self.ca_file!r}; ?ca= names a PEM file.") from error


Provider = Endpoint | EspEndpoint


def endpoints(urls: Mapping[str, str] | None = None) -> dict[str, Provider]:
    """Every provider by alias, the default one first. Raises ImproperlyConfigured with the remedy."""
    urls = tunables().email_providers if urls is None else urls
    if not urls:
        raise ImproperlyConfigured(f"EMAIL_PROVIDERS is empty; name at least one. {_EXAMPLE}")
    found = {alias: parse(alias, url) for alias, url in urls.items()}
    for alias in found:
        stand_ins(alias, found)
    return found


def stand_ins(alias: str, found: Mapping[str, Provider]) -> tuple[Provider, ...]:
    """A provider, and those that stand in for it, one after the other. Raises ImproperlyConfigured."""
    chain = [found[alias]]
    while (then := chain[-1].then) is not None:
        if then not in found:
            raise wrong(chain[-1].alias, f"then={then} is no alias of EMAIL_PROVIDERS; it has {', '.join(found)}.")
        if found[then] in chain:
            raise wrong(
                chain[-1].alias, f"then={then} leads back to where it came from; a row of stand-ins has an end."
            )
        chain.append(found[then])
    return tuple(chain)


def parse(alias: str, url: str) -> Provider:
    """The endpoint behind one alias=URL. Raises ImproperlyConfigured; no message shows the URL."""
    if not _ALIAS.fullmatch(alias):
        # Not shown: where the alias was forgotten, this is a piece of the URL.
        raise ImproperlyConfigured(
            f"EMAIL_PROVIDERS: an alias is up to 63 letters, digits, '.', '_' and '-', with = behind it. {_EXAMPLE}"
        )
    if esp_endpoint.is_esp(url):
        return _encrypted(esp_endpoint.parse(alias, url, connections=CONNECTIONS, most_connections=MOST_CONNECTIONS))
    parts = _split(alias, url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise wrong(alias, f"the URL must start with {known} or anymail+SERVICE://. {_EXAMPLE}")
    security, default_port = SCHEMES[parts.scheme]
    host, port = _host_and_port(alias, parts)
    username, password = _credentials(alias, parts)
    options = _options(alias, parts)
    return Endpoint(
        alias,
        host,
        port or default_port,
        security,
        username,
        password,
        ca_file=options.get("ca"),
        connections=_connections(alias, options.get("connections", str(CONNECTIONS))),
        rates=_rates(alias, options.get("rate")),
        then=options.get("then"),
    )


def may_send_credentials(*, encrypted: bool, peer: str) -> bool:
    """A password travels encrypted, or not beyond this machine. `peer` is the address we are connected to."""
    return encrypted or is_loopback(peer)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _encrypted(endpoint: EspEndpoint) -> EspEndpoint:
    """A key travels encrypted, or not beyond this machine."""
    parts = _split_freely(endpoint.alias, str(endpoint.parameters.get("api_url", "https://")))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise wrong(endpoint.alias, "api_url must start with https://.")
    return endpoint


def _split_freely(alias: str, url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise wrong(alias, f"the URL cannot be read. {_ENCODE}") from None


def _split(alias: str, url: str) -> SplitResult:
    parts = _split_freely(alias, url)
    if parts.fragment or parts.path not in ("", "/"):
        raise wrong(alias, f"the URL has something behind the host. {_ENCODE}")
    return parts


def _host_and_port(alias: str, parts: SplitResult) -> tuple[str, int | None]:
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # its message would show a piece of the URL
        raise wrong(alias, f"the port is no number from 1 to 65535. {_ENCODE}") from None
    if not host or port == 0:
        raise wrong(alias, f"the URL names no host, or port 0. {_EXAMPLE}")
    return host, port


def _credentials(alias: str, parts: SplitResult) -> tuple[str | None, str | None]:
    if not parts.username and not parts.password:
        return None, None
    if not parts.username or not parts.password:
        raise wrong(alias, f"user and password come together, or neither. {_EXAMPLE}")
    username, password = unquote(parts.username), unquote(parts.password)
    if "\0" in username + password:
        raise wrong(alias, "user and password cannot hold a NUL.")
    return username, password


def _options(alias: str, parts: SplitResult) -> dict[str, str]:
    query = parse_qs(parts.query, keep_blank_values=True)
    if set(query) - OPTIONS or any(len(values) > 1 or not values[0] for values in query.values()):
        raise wrong(
            alias,
            "behind the host may stand ?ca=/path/ca.pem, connections=20, rate=14/s and then=backup, each once, with & "
            "between.",
        )
    return {name: values[0] for name, values in query.items()}


def _connections(alias: str, text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_CONNECTIONS:
        raise wrong(alias, f"connections is a number from 1 to {MOST_CONNECTIONS}, not {text!r}.")
    return number


def _rates(alias: str, text: str | None) -> tuple[Rate, ...]:
    try:
        return rates.parse(text) if text else ()
    except ValueError as error:
        raise wrong(alias, f"rate: {error}") from None
