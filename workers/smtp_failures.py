"""Words for what goes wrong between us and an SMTP server: from symptom to DeliveryError."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from jobs import errors
from workers.smtp_replies import Garbled, Reply, verdict
from workers.smtp_wire import Lost

CLOSED_BEFORE_DOT: Final = "smtp_closed_before_dot"
BROKEN: Final = (TimeoutError, Lost, Garbled)  # after these no reply can be matched to a command


class Stale(errors.Transient):
    """The reused connection had died before anything was offered."""


def demand_positive(reply: Reply) -> None:
    if not reply.is_positive:
        raise refusal(reply)


def demand_go_ahead(reply: Reply) -> None:
    if reply.code != 354:
        raise refusal(reply)


def refusal(reply: Reply) -> errors.Transient | errors.Permanent:
    if not reply.is_refusal:
        raise out_of_place(reply)
    return verdict(reply)


def known_before_the_dot(early: Reply | None) -> errors.DeliveryError:
    if early is None:
        return errors.Transient("The server closed the connection before the dot.", kind=CLOSED_BEFORE_DOT)
    if early.is_positive:  # it claims to have a message that we never ended: let a person look
        return senseless(early)
    if early.code >= 500:
        return verdict(early)
    return errors.Transient(early.detail, kind=CLOSED_BEFORE_DOT, code=early.code)


def unanswered(error: BaseException) -> errors.Unanswered:
    if isinstance(error, asyncio.CancelledError):
        return errors.Unanswered("Stopped while waiting for the answer to the dot.", kind="cancelled")
    if isinstance(error, BROKEN):
        broken = transient(error)
        return errors.Unanswered(broken.detail, kind=broken.kind)
    return errors.Unanswered(f"{type(error).__name__} after the dot.", kind="smtp_closed")


def senseless(reply: Reply) -> errors.Unanswered:
    """An answer to a message that is none: neither taken nor refused, or given before the end of the message."""
    detail = f"The server answered {reply.code} to the message, which makes no sense."
    return errors.Unanswered(detail, kind="smtp_protocol", code=reply.code)


def transient(error: BaseException) -> errors.Transient:
    if isinstance(error, TimeoutError):
        return errors.Transient("The server did not answer in time.", kind="timeout")
    return errors.Transient(str(error), kind="smtp_protocol" if isinstance(error, Garbled) else "smtp_closed")


def unreachable(error: OSError | UnicodeError) -> errors.Transient:
    if isinstance(error, TimeoutError):
        return errors.Transient("The server could not be reached in time.", kind="timeout")
    if isinstance(error, socket.gaierror | UnicodeError):
        return errors.Transient("The server's name could not be resolved.", kind="dns")
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    return errors.Transient(f"The server could not be reached: {error.strerror or error}", kind="connect")


def out_of_place(reply: Reply) -> Garbled:
    return Garbled(f"The server answered {reply.code} where that makes no sense.")


def tls_failure(error: OSError) -> errors.Transient:
    """A handshake that failed, in words an operator can act on."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return errors.Transient(f"The server's certificate was not accepted: {error.verify_message}", kind="tls")
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return errors.Transient(f"The TLS handshake failed: {reason}", kind="tls")
