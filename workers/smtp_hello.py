"""How an SMTP session begins: banner, EHLO, STARTTLS, AUTH; at the end stands what the server offers.

A refusal here speaks of us, of the operator's configuration or of the server's mood, never of one
message. So all of them are Transient, the 5xx too: a blocked address or a mistyped password must not
turn everybody's mail into dead letters within the minute it takes to put it right.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from jobs import errors
from workers.providers import Endpoint, may_send_credentials
from workers.smtp_failures import out_of_place, tls_failure
from workers.smtp_replies import Reply
from workers.smtp_wire import Wire

Capabilities = Mapping[str, str]  # upper-case keyword → its parameters

_HOST_NAME = re.compile(r"(?=.{4,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,62})")
_MECHANISMS: Final = ("PLAIN", "LOGIN")  # equally strong; PLAIN needs one round trip less


async def shake_hands(wire: Wire, endpoint: Endpoint, tls: ssl.SSLContext, timeout: float) -> Capabilities:
    """Bring a fresh connection to the point where MAIL may be said; each reply within `timeout`.

    Raises Transient for every clear refusal; TimeoutError, Lost and Garbled as the wire does.
    """
    await _banner(wire, timeout)
    offered = await _hello(wire, timeout)
    if endpoint.security != "tls":
        offered = await _encrypt(wire, endpoint, tls, offered, timeout)
    if endpoint.has_credentials:
        await _authenticate(wire, endpoint, offered, timeout)
    return offered


async def _banner(wire: Wire, timeout: float) -> None:
    reply = await wire.reply(timeout)
    if not reply.is_positive:
        raise _refused(reply, "smtp_greeting")


async def _hello(wire: Wire, timeout: float) -> Capabilities:
    """EHLO, or HELO for a server from before 1995 (RFC 5321 §3.2)."""
    name = _own_name(wire)
    reply = await _ask(wire, b"EHLO " + name, timeout)
    if reply.is_positive:
        return _capabilities(reply)
    if reply.code < 500:
        raise _refused(reply, "smtp_greeting")
    reply = await _ask(wire, b"HELO " + name, timeout)
    if not reply.is_positive:
        raise _refused(reply, "smtp_greeting")
    return {}


async def _encrypt(
    wire: Wire, endpoint: Endpoint, tls: ssl.SSLContext, offered: Capabilities, timeout: float
) -> Capabilities:
    """STARTTLS where it is required or offered, and EHLO once more (RFC 3207 §4.2)."""
    required = endpoint.security == "starttls"
    if "STARTTLS" not in offered:
        if required:
            raise errors.Transient("The server does not offer STARTTLS, which this provider requires.", kind="tls")
        return offered
    reply = await _ask(wire, b"STARTTLS", timeout)
    if not reply.is_positive:
        if required or reply.is_closing:
            raise _refused(reply, "tls")
        return offered
    # Whoever sits in between could have put words behind the reply, to be read as if they had come
    # encrypted (CVE-2011-0411). Nothing may stand there.
    if wire.has_input:
        raise errors.Transient("The server spoke on before the TLS handshake.", kind="tls")
    try:
        async with asyncio.timeout(timeout):
            await wire.start_tls(tls, endpoint.host)
    except TimeoutError:
        raise
    except OSError as error:
        raise tls_failure(error) from error
    return await _hello(wire, timeout)


async def _authenticate(wire: Wire, endpoint: Endpoint, offered: Capabilities, timeout: float) -> None:
    """AUTH PLAIN or LOGIN (RFC 4954), never in the clear beyond this machine."""
    if not may_send_credentials(encrypted=wire.is_encrypted, peer=wire.peer):
        raise errors.Transient(
            "The server offers no TLS, and the password does not travel in the clear. "
            "Use smtp+tls:// or smtps://, or a provider URL without user and password.",
            kind="tls",
        )
    mechanism = _strongest(offered)
    username, password = (endpoint.username or "").encode(), (endpoint.password or "").encode()
    if mechanism == "PLAIN":
        reply = await _ask(wire, b"AUTH PLAIN " + base64.b64encode(b"\0" + username + b"\0" + password), timeout)
    else:
        reply = await _ask(wire, b"AUTH LOGIN", timeout)
        for answer in (username, password):
            if reply.code != 334:
                break
            reply = await _ask(wire, base64.b64encode(answer), timeout)
    if not reply.is_positive:
        raise _refused(reply, "smtp_auth")


def _strongest(offered: Capabilities) -> str:
    mechanisms = offered.get("AUTH", "").upper().split()
    for mechanism in _MECHANISMS:
        if mechanism in mechanisms:
            return mechanism
    raise errors.Transient(
        f"The server offers no AUTH that we speak ({', '.join(_MECHANISMS)}), and the provider has a user.",
        kind="smtp_auth",
    )


async def _ask(wire: Wire, command: bytes, timeout: float) -> Reply:
    wire.write(command + b"\r\n")
    return await wire.reply(timeout)


def _capabilities(reply: Reply) -> Capabilities:
    """The keywords behind the first line; `AUTH=LOGIN` is how servers before RFC 2554 wrote it."""
    offered: dict[str, str] = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.replace("AUTH=", "AUTH ", 1).partition(" ")
        keyword = keyword.upper()
        offered[keyword] = f"{offered[keyword]} {parameters}" if keyword in offered else parameters
    return offered


def _refused(reply: Reply, kind: str) -> errors.Transient:
    if not reply.is_refusal:
        raise out_of_place(reply)
    return errors.Transient(reply.detail, kind="smtp_closing" if reply.is_closing else kind, code=reply.code)


def _own_name(wire: Wire) -> bytes:
    """Our host name where it is a full one, else the address literal (RFC 5321 §4.1.4)."""
    return _full_host_name() or _address_literal(wire.own_address)


@cache
def _full_host_name() -> bytes:
    # gethostname, not getfqdn: the latter asks DNS, and would stop the whole event loop for it.
    name = socket.gethostname()
    return name.encode() if _HOST_NAME.fullmatch(name) else b""


def _address_literal(address: str) -> bytes:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return b"localhost"
    return f"[IPv6:{ip}]".encode() if isinstance(ip, IPv6Address) else f"[{ip}]".encode()
