"""The backend of django-anymail behind an alias: made of the alias's parameters, which it has to understand.

Loads anymail and requests: imported by whoever has such a provider.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import requests
from anymail.backends.base_requests import AnymailRequestsBackend
from anymail.exceptions import AnymailUnsupportedFeature
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from workers import esp_wire
from workers.esp_endpoint import EspEndpoint, wrong


class NotUnderstood(Exception):
    """Parameters that no class of the backend has taken."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(*names)
        self.names = names


class _LastInLine(BaseEmailBackend):
    """Django's own base class would swallow what is left over."""

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **left: Any) -> None:
        if left:
            raise NotUnderstood(sorted(left))
        super().__init__(fail_silently=fail_silently)


class _OnOurWire:
    def create_session(self) -> requests.Session:
        return esp_wire.watch(super().create_session())  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Service:
    """How a backend of one alias is made, and what else its service takes."""

    make: Callable[[], AnymailRequestsBackend]
    metadata: bool  # comes back with events
    tags: bool


def service_of(endpoint: EspEndpoint, *, connect_seconds: float, answer_seconds: float) -> Service:
    """Raises ImproperlyConfigured with the remedy, which shows no value."""
    kind = _class(endpoint)

    def make() -> AnymailRequestsBackend:
        backend: AnymailRequestsBackend = kind(
            alias=endpoint.alias, timeout=(connect_seconds, answer_seconds), **endpoint.parameters
        )
        return backend

    backend = _tried(endpoint, make)
    return Service(make, _takes(backend, metadata={"job_id": "1"}), _takes(backend, tags=["email"]))


def _class(endpoint: EspEndpoint) -> Any:
    try:
        kind = import_module(f"anymail.backends.{endpoint.esp}").EmailBackend
    except ImproperlyConfigured:
        raise wrong(
            endpoint.alias, f"anymail lacks a package that {endpoint.esp} needs; see its documentation."
        ) from None
    if not issubclass(kind, AnymailRequestsBackend):
        raise wrong(endpoint.alias, f"{endpoint.esp} cannot be watched while it sends, and so cannot be used here.")
    return type("Backend", (_OnOurWire, kind, _LastInLine), {})


def _tried(endpoint: EspEndpoint, make: Callable[[], AnymailRequestsBackend]) -> AnymailRequestsBackend:
    see = f"See anymail's documentation of {endpoint.esp}."
    try:
        return make()
    except NotUnderstood as error:
        raise wrong(endpoint.alias, f"{endpoint.esp} takes no {', '.join(error.names)}. {see}") from None
    except ImproperlyConfigured as error:  # anymail says which: OPTIONS must define 'api_key'
        missing = re.search(r"define '(\w+)'", str(error))
        remedy = f"the parameter {missing[1]} is missing." if missing else "one of the parameters cannot be used."
        raise wrong(endpoint.alias, f"{remedy} {see}") from None
    except Exception:  # what it says may hold a value
        raise wrong(endpoint.alias, f"one of the parameters cannot be used. {see}") from None


def _takes(backend: AnymailRequestsBackend, **feature: Any) -> bool:
    """Seen by writing a message that nobody sends."""
    message = EmailMessage("Hello", "Hello.", "a@example.org", ["b@example.org"])
    for name, value in feature.items():
        setattr(message, name, value)
    try:
        backend.build_message_payload(message, {})
    except AnymailUnsupportedFeature:
        return False
    return True
