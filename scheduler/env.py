"""Reads the environment: each `NAME`, or the content of the file that `NAME_FILE` names.

Only settings.py calls this; every reading is remembered, so that docs/settings.md and
.env.example are generated from what is really read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured


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
        self._env = environ.Env()
        self._env.ENVIRON = dict(os.environ if source is None else source)

    def text(self, name: str, default: str = "", *, help: str) -> str:
        return self._read("str", name, default, help)

    def integer(self, name: str, default: int, *, help: str) -> int:
        return self._read("int", name, default, help)

    def number(self, name: str, default: float, *, help: str) -> float:
        return self._read("float", name, default, help)

    def flag(self, name: str, default: bool, *, help: str) -> bool:
        return self._read("bool", name, default, help)

    def names(self, name: str, default: list[str], *, help: str) -> list[str]:
        return self._read("list", name, default, help)

    def database(self, name: str, default: str, *, help: str) -> dict[str, Any]:
        url = self._read("str", name, default, help)
        try:
            return self._env.db_url_config(url)
        except Exception as error:
            raise ImproperlyConfigured(
                f"{name}: not a database URL. Example: postgres://user:pass@host:5432/db"
            ) from error

    def _read(self, kind: str, name: str, default: Any, help: str) -> Any:
        shown = ",".join(default) if isinstance(default, list) else str(default)
        self.readings.append(Reading(name, kind, shown, help))
        self._mind_file(name)
        try:
            return getattr(self._env, kind)(name, default=default)
        except (ValueError, TypeError) as error:
            text = self._env.ENVIRON.get(name, "")
            raise ImproperlyConfigured(f"{name}={text!r} is not a valid {kind}. It means: {help}") from error

    def _mind_file(self, name: str) -> None:
        """Secrets mounted as files: NAME_FILE=/run/secrets/name stands in for NAME."""
        path = self._env.ENVIRON.get(f"{name}_FILE")
        if not path or name in self._env.ENVIRON:
            return
        try:
            self._env.ENVIRON[name] = Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: {path} cannot be read ({error.strerror}).") from error
