"""Tells one service of people's about one notice, by Apprise. Runs in a process that does nothing else meanwhile.

Apprise says yes or no, and logs why. What a no means for the promise has to be known better: whether the service said
it, or was never reached, or has perhaps heard all of it. So what its plugins are answered is looked at where it passes,
in `requests`, which nearly all of them use, and whether a byte of theirs has left, in `http.client`. Where they connect
to is looked at, too, by an audit hook (PEP 578): that holds for whatever library a plugin uses.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from typing import Any

import msgspec
from msgspec import Struct

from jobs import networks, notifications
from workers import retry_after
from workers.tasks import Ending, How

SHORTEST_SECRET = 4  # characters of an address that are taken out of what is told about it


class Notice(Struct, frozen=True, kw_only=True):
    """What is told, and to whom."""

    url: str
    title: str
    body: str
    level: str
    destination: str
    owner_id: int


@dataclass
class Watch:
    """What was seen while one notice was told."""

    answers: list[Any] = field(default_factory=list)  # requests.Response, or the exception instead of one
    doubts: list[bool] = field(default_factory=list)  # for each of them: nobody knows whether it was heard
    has_begun: bool = False  # bytes of the last request may have left
    refused: str | None = None  # an address that may not be reached


class AddressRefused(ConnectionRefusedError):
    """Where it leads is not for others to reach through us."""


_watch: Watch | None = None


def tell(asked: bytes) -> bytes:
    """A Notice, as JSON, to its Ending, as JSON."""
    return msgspec.json.encode(_tell(msgspec.json.decode(asked, type=Notice)))


def _tell(notice: Notice) -> Ending:
    service = notifications.service(notice.url)
    if service is None:
        return Ending(how=How.PERMANENT, detail="Apprise knows no such service.", kind="service_unknown")
    import apprise

    app = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Sendonce", async_mode=False, secure_logging=True))
    app.add(service)
    with _words_of(apprise) as said, _watching() as watch:
        is_told = app.notify(title=notice.title, body=notice.body, notify_type=notice.level)
    words = _without_secrets(said.getvalue(), notice.url) or "Apprise gave no reason."
    return _ending(bool(is_told), watch, words)


def _ending(is_told: bool, watch: Watch, words: str) -> Ending:
    last = watch.answers[-1] if watch.answers else None
    status = getattr(last, "status_code", None)
    if is_told:
        return Ending(how=How.DONE, detail="", code=status)
    # Of several calls some were heard, or may have been.
    heard = any(getattr(answer, "ok", False) for answer in watch.answers[:-1]) or any(watch.doubts[:-1])
    if watch.refused and not heard:
        told = f"It leads to {watch.refused}, which is not public. Have its network put into REACHABLE_NETWORKS."
        return Ending(how=How.PERMANENT, detail=told, kind="address_refused")
    # None: a plugin that does not speak HTTP, or not by `requests`.
    if heard or last is None or (status is None and watch.doubts[-1]):
        return Ending(how=How.UNDONE, detail=words, kind="unanswered")
    if status is None:
        return Ending(how=How.TRANSIENT, detail=words, kind="unreachable")
    return _of_status(status, words, after=retry_after.seconds(last.headers.get("retry-after")))


def _of_status(status: int, words: str, *, after: float | None) -> Ending:
    """An answer that is not a yes. A 5xx is no clear no, either: who stands before the service says it of requests that
    it has handed on (docs/decisions/0016)."""
    kind = f"http_{status // 100}xx"
    if retry_after.is_busy(status, after):
        return Ending(how=How.TRANSIENT, detail=words, kind=kind, code=status, retry_after=after)
    return Ending(how=How.PERMANENT if status < 500 else How.UNDONE, detail=words, kind=kind, code=status)


def _is_no_clear_answer(answer: Any) -> bool:
    after = retry_after.seconds(answer.headers.get("retry-after"))
    return _of_status(answer.status_code, "", after=after).how is How.UNDONE


# ── Looking on ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _watching() -> Iterator[Watch]:
    global _watch
    _look_on()
    _watch = watch = Watch()
    try:
        yield watch
    finally:
        _watch = None


@cache
def _look_on() -> None:
    """Once in a process: an audit hook cannot be taken away."""
    from requests.adapters import HTTPAdapter

    plain, write = HTTPAdapter.send, HTTPConnection.send

    def begin(self: HTTPConnection, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if _watch:
            _watch.has_begun = True
        write(self, data)

    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _watch:
            _watch.has_begun = False
        try:
            answer = plain(self, *args, **kwargs)
        except Exception as error:
            if _watch:
                _watch.answers.append(error)
                _watch.doubts.append(_watch.has_begun)
            raise
        if _watch:
            _watch.answers.append(answer)
            _watch.doubts.append(_is_no_clear_answer(answer))
        return answer

    HTTPAdapter.send, HTTPConnection.send = send, begin  # type: ignore[method-assign]
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watch is None:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        host = str(address[0]) if isinstance(address, tuple) and address else "this machine"
        if not _is_allowed(host):
            _watch.refused = host
            raise AddressRefused(f"{host} may not be reached.")
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        raise PermissionError("A notification starts no program.")


def _is_allowed(host: str) -> bool:
    try:
        return networks.may_be_reached(host)
    except ValueError:
        return False  # a name, which would be looked up once more


@contextmanager
def _words_of(apprise: Any) -> Iterator[io.StringIO]:
    """What Apprise logs meanwhile: its only way to say why."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger, level = logging.getLogger("apprise"), logging.getLogger("apprise").level
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _without_secrets(words: str, url: str) -> str:
    parts = url.partition("://")[2]
    for sign in "/?&=:@#,%":
        parts = parts.replace(sign, " ")
    for part in sorted(parts.split(), key=len, reverse=True):
        if len(part) >= SHORTEST_SECRET:
            words = words.replace(part, "…")
    return " ".join(words.split())
