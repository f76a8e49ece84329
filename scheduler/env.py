"""Reads the environment: each `NAME`, or the content of the file that `NAME_FILE` names.

Only settings.py and tunables.py call this; every reading is remembered, so that docs/settings.md and
.env.example are generated from what is really read. Whatever is not understood refuses to start,
with the name and what it means; texts, which may be secrets, are never shown.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from jobs import rates
from jobs.rates import Rate

T = TypeVar("T")
Network = IPv4Network | IPv6Network

FLAGS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
POSTGRES = ("postgres://", "postgresql://")


@dataclass(frozen=True)
class Reading:
    """One variable: its name, how it is parsed, its default as text, and what it means."""

    name: str
    kind: str
    default: str
    help: str


class Environment:
    """A typed view of the environment that fails with the name and the remedy."""

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        self.readings: list[Reading] = []
        self._source = os.environ if source is None else source

    def text(self, name: str, default: str = "", *, help: str) -> str:
        return self._read("str", name, default, help, str)

    def integer(self, name: str, default: int, *, help: str) -> int:
        return self._read("int", name, default, help, int)

    def number(self, name: str, default: float, *, help: str) -> float:
        return self._read("float", name, default, help, _finite)

    def flag(self, name: str, default: bool, *, help: str) -> bool:
        return self._read("bool", name, default, help, lambda text: FLAGS[text.lower()])

    def names(self, name: str, default: list[str], *, help: str) -> list[str]:
        """Separated by commas; white space around them and empty ones do not count."""
        return self._read("list", name, default, help, _split)

    def pairs(self, name: str, default: list[str], *, example: str, help: str) -> dict[str, str]:
        """Names of the form key=value. What does not fit is not shown: it may hold a password."""
        pairs = [entry.partition("=") for entry in self.names(name, default, help=help)]
        if not all(found for _, found, _ in pairs):
            raise ImproperlyConfigured(f"{name}: an entry has no =. Example: {example}")
        return {key.strip(): value.strip() for key, _, value in pairs}

    def rates(self, name: str, *, help: str) -> dict[str, tuple[Rate, ...]]:
        """Of each name, e.g. gmail.com=20/s; * stands for each of the others."""
        pairs = self.pairs(name, [], example="gmail.com=20/s", help=help)
        try:
            return {key: rates.parse(text) for key, text in pairs.items()}
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}") from None

    def networks(self, name: str, default: list[str], *, help: str) -> tuple[Network, ...]:
        return self._read("list", name, tuple(map(ip_network, default)), help, _networks)

    def packages(self, name: str, default: list[str], *, help: str) -> list[str]:
        """Names, by which Python finds packages."""
        names = self.names(name, default, help=help)
        for package in names:
            if not _is_installed(package):
                raise ImproperlyConfigured(f"{name}: there is no package {package!r} here. Install it, or take it off.")
        return names

    def collector(self, name: str, *, packages: str, remedy: str, help: str) -> str:
        """An HTTP URL, or nothing; with it, packages are needed that are not always there. It may hold a password."""
        url = self.text(name, help=help)
        if url and not _is_http(url):
            raise ImproperlyConfigured(f"{name}: not an HTTP URL. Example: http://collector:4318")
        if url and (missing := [package for package in packages.split() if not _is_installed(package)]):
            raise ImproperlyConfigured(f"{name} is set, but there is no {missing[0]} here: {remedy}.")
        return url

    def database(self, name: str, default: str, *, help: str) -> dict[str, Any]:
        url = self.text(name, default, help=help)
        try:
            if not url.startswith(POSTGRES):
                raise ValueError
            return environ.Env.db_url_config(url)
        except Exception:  # what it says could hold the password
            raise ImproperlyConfigured(
                f"{name}: not a PostgreSQL URL. Example: postgres://user:pass@host:5432/db "
                "(special characters of the password percent-encoded)"
            ) from None

    def _read(self, kind: str, name: str, default: T, help: str, parse: Callable[[str], T]) -> T:
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        self.readings.append(Reading(name, kind, shown, help))
        text = self._text(name)
        if text is None:
            return default
        try:
            return parse(text)
        except (ValueError, KeyError):
            raise ImproperlyConfigured(f"{name}={text!r} is not a valid {kind}. It means: {help}") from None

    def _text(self, name: str) -> str | None:
        """Set and not empty, or from a file: secrets are mounted as NAME_FILE=/run/secrets/name."""
        if value := self._source.get(name, "").strip():
            return value
        path = self._source.get(f"{name}_FILE")
        if not path:
            return None
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: {path} cannot be read ({error.strerror}).") from error


def _is_http(url: str) -> bool:
    try:
        return url.startswith(("http://", "https://")) and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # not even its parent, or no name
        return False


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, _split(text)))


def _split(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
