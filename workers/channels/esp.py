"""A way to one email service over HTTP, in the shape of the email channel's other ways.

Its libraries block, so each request has a thread, which nobody waits for when the worker leaves; no more at once than
the provider's `connections`. Before the mark nothing is said to the service: `offer` puts the message into its form,
`commit` is the whole request. A connection is used again for the next message only within moments: one that the
service was just closing would be an unknown.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from jobs.conf import Tunables
from jobs.errors import DeliveryError, Interrupted, Permanent, Transient, Unanswered
from workers.channels.base import MailReceipt
from workers.channels.letter import Letter
from workers.esp_endpoint import EspEndpoint

if TYPE_CHECKING:  # else loaded by who has such a provider: 5 MB
    from anymail.backends.base_requests import AnymailRequestsBackend

    from workers.esp_wire import Departure

IDLE_SECONDS: Final = 3.0  # services wait five seconds at the least


class EspDesk:
    """One email service, for all messages of one worker process. Raises ImproperlyConfigured when its backend does not
    understand the provider's parameters."""

    def __init__(self, endpoint: EspEndpoint, conf: Tunables) -> None:
        from workers import esp_backend

        connect, answer = conf.connect_timeout_seconds, conf.http_timeout_seconds
        self.endpoint = endpoint
        self.service = esp_backend.service_of(endpoint, connect_seconds=connect, answer_seconds=answer)
        self.patience_seconds = connect
        self.limit_seconds = min(connect + answer, conf.dot_timeout_seconds)  # of one request, all in all
        self._free = asyncio.Semaphore(endpoint.connections)
        self._idle: deque[tuple[float, AnymailRequestsBackend]] = deque()  # the oldest on the left

    def line(self, letter: Letter) -> EspLine:
        return EspLine(self, letter)

    async def borrow(self) -> AnymailRequestsBackend:
        """One that nobody else uses, with an open session. Raises Interrupted when too many are under way for too
        long, as the pools of SMTP do."""
        try:
            async with asyncio.timeout(self.patience_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Interrupted("All connections to the provider are taken.", kind="connections_busy") from None
        try:
            return self._opened()
        except BaseException:
            self._free.release()
            raise

    def _opened(self) -> AnymailRequestsBackend:
        while self._idle and self._idle[0][0] < time.monotonic() - IDLE_SECONDS:
            self._idle.popleft()[1].close()
        backend = self._idle.pop()[1] if self._idle else self.service.make()
        backend.open()
        return backend

    def give_back(self, backend: AnymailRequestsBackend, *, may_be_reused: bool) -> None:
        if may_be_reused:
            self._idle.append((time.monotonic(), backend))
        else:
            backend.close()
        self._free.release()

    async def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()


class EspLine:
    """A way to the service, for one letter."""

    def __init__(self, desk: EspDesk, letter: Letter) -> None:
        self.provider = desk.endpoint.alias
        self._desk = desk
        self._letter = letter
        self._backend: AnymailRequestsBackend
        self._message: Any = None
        self._payload: Any = None
        self._under_way: Future[MailReceipt] | None = None

    async def __aenter__(self) -> EspLine:
        self._backend = await self._desk.borrow()
        return self

    async def __aexit__(self, *_: object) -> None:
        """A request that is still under way keeps its place until it is over."""
        if self._under_way is None or self._under_way.done():
            self._give_back()
        else:
            loop = asyncio.get_running_loop()
            self._under_way.add_done_callback(lambda _: _tell(loop, self._give_back))

    async def offer(self, parcel: Letter) -> None:
        """Put into the service's form. Raises Invalid for what it cannot take."""
        from workers import esp_outcomes
        from workers.channels import esp_message

        service = self._desk.service
        try:
            self._message = esp_message.write(self._letter, metadata=service.metadata, tags=service.tags)
            self._payload = self._backend.build_message_payload(self._message, self._backend.send_defaults)
        except DeliveryError:
            raise
        except Exception as error:
            raise esp_outcomes.unwritable(error) from None

    async def commit(self) -> MailReceipt:
        """Send it, and wait for the answer. Raises Transient and Permanent by a clear no, and when provably nothing
        was sent; Interrupted when cancelled before the first byte; Unanswered when nobody can know."""
        from workers.esp_wire import Departure

        limit = self._desk.limit_seconds
        departure = Departure(until=time.monotonic() + limit)
        under_way = Future[MailReceipt]()
        try:
            threading.Thread(target=self._run, args=(under_way, departure), name="esp", daemon=True).start()
        except RuntimeError:  # the machine has no more threads
            raise Interrupted("No thread could be had for the request.", kind="no_thread") from None
        self._under_way = under_way
        answer = asyncio.wrap_future(under_way)
        answer.add_done_callback(_heard)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(answer)
        except (TimeoutError, asyncio.CancelledError) as error:
            if under_way.done():  # it came in the very moment in which the wait for it ended
                return under_way.result()
            raise _given_up(departure, is_cancelled=isinstance(error, asyncio.CancelledError)) from error

    def _run(self, under_way: Future[MailReceipt], departure: Departure) -> None:
        try:
            under_way.set_result(self._send(departure))
        except BaseException as error:
            under_way.set_exception(error)

    def _send(self, departure: Departure) -> MailReceipt:
        """In a thread of its own. Raises DeliveryErrors only."""
        from workers import esp_outcomes, esp_wire

        esp_wire.departing(departure)
        secrets = self._desk.endpoint.secrets
        try:
            response = self._backend.post_to_esp(self._payload, self._message)
        except Exception as error:
            refusal = getattr(error, "response", None)
            if refusal is None:
                raise esp_outcomes.of_silence(error, has_begun=departure.has_begun) from None
            raise esp_outcomes.of_refusal(refusal, secrets) from None
        try:
            statuses = self._backend.parse_recipient_status(response, self._payload, self._message)
        except Exception:
            raise esp_outcomes.of_refusal(response, secrets) from None
        return esp_outcomes.of_answer(
            response, statuses, provider=self.provider, message_id=self._letter.message_id, secrets=secrets
        )

    def _give_back(self) -> None:
        error = self._under_way.exception() if self._under_way else None
        self._desk.give_back(self._backend, may_be_reused=error is None or isinstance(error, Permanent))


def _given_up(departure: Departure, *, is_cancelled: bool) -> DeliveryError:
    if departure.forbid():
        if is_cancelled:
            return Interrupted(kind="interrupted")
        return Transient("The email service could not be reached in time.", kind="timeout")
    if is_cancelled:
        return Unanswered("Stopped while waiting for the email service's answer.", kind="cancelled")
    return Unanswered("The email service did not answer in time.", kind="timeout")


def _heard(answer: asyncio.Future[MailReceipt]) -> None:
    """Nobody may be waiting any more for what it says."""
    if not answer.cancelled():
        answer.exception()


def _tell(loop: asyncio.AbstractEventLoop, function: Any) -> None:
    with suppress(RuntimeError):  # the worker has left
        loop.call_soon_threadsafe(function)
