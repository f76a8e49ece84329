"""The server: its knobs, its book, and its life in a running event loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Self

from .acts import Answer, AtDotRule
from .book import Book, Mail, Moment
from .faults import Script
from .holds import Hold, Holds
from .session import Session
from .wire import End, Wire

PATIENCE = 10.0  # seconds that a test waits for a condition


class FaultySmtp:
    """An SMTP server that refuses, stalls, drops and lies as told, and keeps a book of what it has heard.

        async with FaultySmtp() as server: ...    # in the running event loop
        with FaultySmtp() as server: ...          # in a thread of its own; or start() and stop()

    Knobs, all optional, to be turned at any time; the first of them that says something decides:

        script(moment)          asked at every phase; None: go on with the other knobs
        rcpt_answers[address]   for one recipient
        once(phase, …)          answers for the next times only, also for "dot"
        answers[phase]          instead of the ordinary answer; phases are those of Moment
        in_body = (n, answer)   as soon as n bytes of a body have come
        at_dot                  an answer (kept if it is a 2xx), an AtDot, or a function of the Mail giving one of them
        hold(opening)           sit on the next answer that opens with these words until it is released

    A script or at_dot that raises ends its conversation with 421, and `stop` (or the end of the block) raises it.
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
        script: Script | None = None,
        book: Book | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.pipelining, self.extensions = pipelining, list(extensions)
        self.starttls, self.tls = starttls, tls
        self.users, self.mechanisms = users, mechanisms
        self.script = script
        self.answers: dict[str, Answer] = {}
        self.rcpt_answers: dict[str, Answer] = {}
        self.in_body: tuple[int, Answer] | None = None
        self.at_dot: AtDotRule | Callable[[Mail], AtDotRule] = None
        self.book = book or Book()
        self.logins: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.dots = 0  # messages that were ended
        self._once: dict[str, deque[AtDotRule]] = defaultdict(deque)
        self._holds = Holds()
        self._error: Exception | None = None  # what a script raised
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # ── The book ──────────────────────────────────────────────────────────────────────────────

    @property
    def mails(self) -> list[Mail]:
        """All whose dot was heard, in that order, kept or not."""
        return self.book.mails

    @property
    def accepted(self) -> list[Mail]:
        """Those that were kept, whatever was answered."""
        return [mail for mail in self.book.mails if mail.kept]

    @property
    def commands(self) -> list[str]:
        """Every line that was heard, but no bodies."""
        return self.book.commands

    @property
    def unfinished(self) -> list[bytes]:
        """Bodies whose dot never came."""
        return self.book.unfinished

    def heard(self, verb: str) -> list[str]:
        return [command for command in self.commands if command.upper().startswith(verb)]

    async def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not condition():
                await asyncio.sleep(0.002)

    def wait_until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"The condition was not met within {patience:g} s.")
            time.sleep(0.002)

    # ── Knobs ─────────────────────────────────────────────────────────────────────────────────

    def once(self, phase: str, *answers: AtDotRule) -> None:
        self._once[phase].extend(answers)

    def hold(self, opening: str) -> Hold:
        return self._holds.add(opening)

    async def tell_all(self, answer: Answer) -> None:
        """Say something that nobody asked for, on every connection."""
        for session in list(self._sessions.values()):
            with contextlib.suppress(End):
                await session.wire.say(answer)

    def rule(self, moment: Moment) -> AtDotRule:
        """What the knobs say to this; None: the ordinary answer."""
        if self.script and (rule := self.script(moment)) is not None:
            return rule
        if moment.phase == "rcpt" and (answer := self.rcpt_answers.get(moment.recipients[-1])):
            return answer
        if self._once[moment.phase]:
            return self._once[moment.phase].popleft()
        if moment.phase in self.answers:
            return self.answers[moment.phase]
        if moment.mail is not None:
            return self.at_dot(moment.mail) if callable(self.at_dot) else self.at_dot
        return None

    # ── Life in the running loop ──────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # who was just let in says hello to the list of sessions
        for session in list(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()
        if error is None and self._error is not None:
            raise self._error

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self.open_connections += 1
        session = self._sessions[task] = Session(self, Wire(reader, writer, self._holds), self.connections)
        try:
            await session.run()
        except (End, OSError, asyncio.CancelledError):
            pass
        except Exception as error:  # a script's own
            self._error = self._error or error
            with contextlib.suppress(End, OSError):
                await session.wire.say("421 4.3.0 The script of this server raised")
        finally:
            self.open_connections -= 1
            del self._sessions[task]
            writer.transport.abort()

    # ── Life in a thread of its own ───────────────────────────────────────────────────────────

    def start(self) -> Self:
        """Returns when it listens; raises what keeps it from doing so."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="smtp", daemon=True)
        self._thread.start()
        started.result(PATIENCE)
        return self

    def stop(self) -> None:
        """Once stopped, `start` begins again on the same port, with the same book; to stop it twice does no harm."""
        if self._thread is not None and not self._thread.is_alive() and self._error is None:
            return
        assert self._loop is not None
        assert self._stopping is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError("The SMTP server did not stop.")
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        with contextlib.suppress(*([Exception] if error else [])):
            self.stop()

    async def _serve(self, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.__aenter__()
        except Exception as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._stopping.wait()
        await self.__aexit__(None, self._error, None)
