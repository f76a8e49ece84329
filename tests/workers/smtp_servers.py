"""An SMTP server with a character, for tests and journeys: it refuses, stalls, drops and lies as told.

    async with FaultySmtp() as server: ...          # in the running event loop
    server = FaultySmtp(); server.start(); ...; server.stop()   # in a thread of its own

It keeps its own books: `accepted` holds what it took, whatever it answered. All knobs may be turned while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Self

from tests.workers.smtp_session import (
    ACCEPT_THEN_DROP,
    ACCEPT_THEN_STALL,
    THROW_AWAY_AND_DROP,
    Act,
    Answer,
    AtDot,
    AtDotRule,
    End,
    Mail,
    Session,
)

__all__ = ["ACCEPT_THEN_DROP", "ACCEPT_THEN_STALL", "THROW_AWAY_AND_DROP", "Act", "AtDot", "FaultySmtp", "Mail"]

PATIENCE = 10.0  # seconds that a test waits for a condition


class FaultySmtp:
    """Knobs, all optional:

    answers[phase]          instead of the ordinary answer; phases are banner and the commands in lower case
    rcpt_answers[address]   for one recipient
    in_body = (n, answer)   as soon as n bytes of a body have come
    at_dot                  an answer (kept if it is a 2xx), an AtDot, or a function of the Mail giving one of them
    once(phase, …)          answers for the next times only, also for "dot"
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        pipelining: bool = True,
        extensions: Iterable[str] = ("8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN",
    ) -> None:
        self.host, self.port = host, port
        self.pipelining, self.extensions = pipelining, list(extensions)
        self.starttls, self.tls = starttls, tls
        self.users, self.mechanisms = users, mechanisms
        self.answers: dict[str, Answer] = {}
        self.rcpt_answers: dict[str, Answer] = {}
        self.in_body: tuple[int, Answer] | None = None
        self.at_dot: AtDotRule | Callable[[Mail], AtDotRule] = None
        self.commands: list[str] = []  # every line that was heard, but no bodies
        self.logins: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.dots = 0  # messages that were ended
        self.unfinished: list[bytes] = []  # bodies that never were
        self._once: dict[str, deque[Answer | AtDot]] = defaultdict(deque)
        self._book: list[Mail] = []
        self._lock = threading.Lock()
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # ── The book ──────────────────────────────────────────────────────────────────────────────

    @property
    def accepted(self) -> list[Mail]:
        with self._lock:
            return list(self._book)

    def keep(self, mail: Mail) -> None:
        with self._lock:
            self._book.append(mail)

    def once(self, phase: str, *answers: Answer | AtDot) -> None:
        self._once[phase].extend(answers)

    def heard(self, verb: str) -> list[str]:
        return [command for command in list(self.commands) if command.upper().startswith(verb)]

    async def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not condition():
                await asyncio.sleep(0.002)

    def wait_until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("The condition was not met.")
            time.sleep(0.002)

    # ── Life in the running loop ──────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for session in list(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    # ── Life in a thread of its own ───────────────────────────────────────────────────────────

    def start(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="smtp", daemon=True)
        self._thread.start()
        if not started.wait(PATIENCE):
            raise TimeoutError("The SMTP server did not start.")
        return self

    def stop(self) -> None:
        """Once stopped, `start` begins again on the same port, with the same book."""
        assert self._loop is not None
        assert self._stopping is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with self:
            started.set()
            await self._stopping.wait()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        session = self._sessions[task] = Session(self, reader, writer)
        self.connections += 1
        self.open_connections += 1
        try:
            await session.run()
        except (End, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            del self._sessions[task]
            writer.transport.abort()

    async def tell_all(self, answer: Answer) -> None:
        """Say something that nobody asked for, on every connection."""
        for session in list(self._sessions.values()):
            with contextlib.suppress(End):
                await session.say(answer)

    def answer_for(self, phase: str, ordinary: str) -> Answer | AtDot:
        if self._once[phase]:
            return self._once[phase].popleft()
        return self.answers.get(phase, ordinary)
