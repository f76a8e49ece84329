"""The clients: they submit the plan's jobs over HTTP, as many at once as the plan says, and keep a book of what they
were answered. They do what a careful client does: a request that got no final answer is sent again, under the same key.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import httpx

from scheduler.torture.evidence import Answer, Complaint, Loss, Refusal
from scheduler.torture.plan import Plan, PlannedJob

USERNAME, PASSWORD = "torture", "correct horse battery staple"
FIRST_RETRY_SECONDS = 0.25  # sooner than Retry-After asks for: it is measured, too, how soon the API is back …
LONGEST_RETRY_SECONDS = 1.0  # … but hundreds may be waiting
TIMEOUT_SECONDS = 15.0
CONNECTIONS = 50
PATIENCE_SECONDS = 300.0  # after which a client gives up, and the run has failed


class Clients:
    """A thread that submits everything at its time. The books are complete once `is_done`."""

    def __init__(self, plan: Plan, api_urls: Sequence[str]) -> None:
        self.answers: list[Answer] = []
        self.losses: list[Loss] = []
        self.complaints: list[Complaint] = []
        self.refusals: list[Refusal] = []
        self.statuses: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._plan = plan
        self._urls = list(api_urls)
        self._turn = count()
        self._token = ""
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all: asyncio.Future[Any] | None = None

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Everything under way is dropped."""
        loop, all_of_it = self._loop, self._all
        if loop is not None and all_of_it is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(all_of_it.cancel)
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_SECONDS)

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(self._submit_all())
        except BaseException as error:
            self.error = error

    async def _submit_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turnstile = asyncio.Semaphore(CONNECTIONS)  # httpx itself grows slow when hundreds wait for a connection
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        # A proxy of the environment has no business between us and 127.0.0.1.
        async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False) as self._http:
            self._signing_in = asyncio.Lock()
            began = time.monotonic()
            all_of_it = self._all = asyncio.gather(*(self._play(job, began) for job in self._plan.jobs))
            await all_of_it

    async def _play(self, job: PlannedJob, began: float) -> None:
        await _until(began + job.at)
        await asyncio.gather(*(self._submit(job) for _ in range(job.clients)))
        if job.again_after is not None:
            await _until(began + job.at + job.again_after)
            await self._submit(job)

    async def _submit(self, job: PlannedJob) -> None:
        """One client's request, until it has an answer that is final."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        said, wait = "nothing", FIRST_RETRY_SECONDS
        while time.monotonic() < deadline:
            api = next(self._turn) % len(self._urls)
            try:
                async with self._turnstile:
                    token = await self._current_token()
                    answer = await self._post(api, job.path, job.body, token=token, key=job.key)
            except httpx.TransportError as error:
                said = type(error).__name__
                self.statuses[said] += 1
                self.losses.append(Loss(job.number, time.time()))
            else:
                said = f"{answer.status_code} {answer.text[:500]}"
                self.statuses[str(answer.status_code)] += 1
                if answer.is_success:
                    self._note(job, api, answer)
                    return
                if answer.status_code == 401:
                    await self._sign_in(instead_of=token)
                    continue
                if answer.is_server_error:  # nothing is promised, and it may have been done all the same
                    self.losses.append(Loss(job.number, time.time()))
                    self.complaints.append(Complaint(answer.status_code, api + 1, time.time()))
                elif answer.status_code not in (409, 429):
                    break
            await asyncio.sleep(random.uniform(0.5, 1.5) * wait)
            wait = min(wait * 2, LONGEST_RETRY_SECONDS)
        self.refusals.append(Refusal(job.number, said))

    def _note(self, job: PlannedJob, api: int, answer: httpx.Response) -> None:
        is_replay = answer.headers.get("Idempotency-Replayed") == "true"
        self.answers.append(Answer(job.number, answer.json()["id"], time.time(), api + 1, is_replay))

    async def _post(
        self, api: int, path: str, body: object, *, token: str = "", key: str | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        return await self._http.post(self._urls[api] + path, json=body, headers=headers)

    async def _current_token(self) -> str:
        """One token for all clients; while somebody fetches a new one, the others wait for it."""
        async with self._signing_in:
            return self._token

    async def _sign_in(self, *, instead_of: str) -> None:
        """Whoever finds a new token already there uses that."""
        async with self._signing_in:
            while self._token == instead_of:
                with suppress(httpx.TransportError):
                    self._token = await self._ask_for_token() or instead_of
                if self._token == instead_of:
                    await asyncio.sleep(FIRST_RETRY_SECONDS)

    async def _ask_for_token(self) -> str | None:
        credentials = {"username": USERNAME, "password": PASSWORD}
        for path in ("/login", "/signup"):
            answer = await self._post(next(self._turn) % len(self._urls), path, credentials)
            if answer.is_success:
                return str(answer.json()["access_token"])
        return None


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
