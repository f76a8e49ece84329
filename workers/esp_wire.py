"""HTTP for email services, of which is known whether a request has begun to leave.

No byte of a request is written before `Departure.begin` has said yes, and it says so once; so whatever goes wrong
before, names that do not resolve, refused connections, failed handshakes, provably sent nothing. Nothing is asked
twice, redirects are not followed, and neither proxies nor .netrc of the environment are used.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class NotDeparted(OSError):
    """It was stopped, or came too late, before the first byte."""


class Departure:
    """The moment in which one request begins to leave, or the decision that it never will."""

    def __init__(self, *, until: float) -> None:
        """`until`: by time.monotonic(). Whoever slept over it, as a process that was paused, sends nothing more."""
        self._until = until
        self._lock = threading.Lock()
        self._has_begun = False
        self._is_forbidden = False

    @property
    def has_begun(self) -> bool:
        return self._has_begun

    def begin(self) -> None:
        """Raises NotDeparted."""
        with self._lock:
            if self._has_begun:
                return
            if self._is_forbidden or time.monotonic() > self._until:
                raise NotDeparted("It was too late for this request.")
            self._has_begun = True

    def forbid(self) -> bool:
        """True: not a byte has left, and none will."""
        with self._lock:
            self._is_forbidden = not self._has_begun
            return self._is_forbidden


_of_this_thread = threading.local()


def departing(departure: Departure) -> None:
    """What this thread asks from now on departs by this."""
    _of_this_thread.departure = departure


class _Watched:
    """For http.client's connections: all they write goes through `send`, which connects where that is still to do."""

    sock: Any

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        _of_this_thread.departure.begin()
        super().send(data)  # type: ignore[misc]


class _Connection(_Watched, HTTPConnection): ...


class _TlsConnection(_Watched, HTTPSConnection): ...


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """One connection, and no retries (which is its default, and stays so)."""

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def watch(session: requests.Session) -> requests.Session:
    """The same session, with what the head of this file says."""
    session.trust_env = False
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session
