"""Jobs that compute, write, ask others and fail. All may be repeated."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from typing import Annotated, Any, Literal

import httpx
from django.core.exceptions import ImproperlyConfigured
from msgspec import Meta, Struct

from jobs.conf import tunables
from jobs.errors import Permanent, Transient
from jobs.types import Retry, RunningJob, job_type

MOST = 500


class DemoPayload(Struct, forbid_unknown_fields=True):
    """Anything."""

    value: Annotated[Any, Meta(description="Comes back as it is.", examples=[123])] = None


class WorkPayload(Struct, forbid_unknown_fields=True):
    """A name for the work, and how much of it there is. Plain text stands for the name."""

    task: Annotated[str, Meta(description="What it is called.", examples=["test task"])] = ""
    amount: Annotated[
        int, Meta(ge=1, le=MOST, description="Ten thousands of hashes, kilobytes, or requests.", examples=[10])
    ] = 10


class FailingPayload(Struct, forbid_unknown_fields=True):
    """How it fails. Plain text says how, too."""

    how: Annotated[
        Literal["transient", "permanent", "error"],
        Meta(description="It may work later, it cannot work, or nobody foresaw it."),
    ] = "transient"


class UserPayload(Struct, forbid_unknown_fields=True):
    """Who is verified."""

    user_id: Annotated[int, Meta(ge=1, description="404: nobody has heard of them; 503: a service is down.")]


@job_type("demo", payload=DemoPayload, may_be_repeated=True)
def demo(job: RunningJob[DemoPayload]) -> dict[str, Any]:
    return {"value": job.payload.value, "attempt": job.attempt}


@job_type("cpu_intensive", payload=WorkPayload, from_text="task", may_be_repeated=True)
def cpu_intensive(job: RunningJob[WorkPayload]) -> dict[str, Any]:
    digest = job.payload.task.encode()
    rounds = job.payload.amount * 10_000
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return {"task": job.payload.task, "rounds": rounds, "digest": digest.hex()}


@job_type("io_intensive", payload=WorkPayload, from_text="task", may_be_repeated=True)
def io_intensive(job: RunningJob[WorkPayload]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as file:
        for _ in range(job.payload.amount):
            file.write(bytes(1024))
        file.seek(0)
        read = sum(len(piece) for piece in iter(lambda: file.read(64 * 1024), b""))
    return {"task": job.payload.task, "bytes": read}


@job_type("network_task", payload=WorkPayload, from_text="task", may_be_repeated=True, time_limit_seconds=20.0)
async def network_task(job: RunningJob[WorkPayload]) -> dict[str, Any]:
    first, _ = _services()
    async with _client(job) as client:
        answers = await asyncio.gather(*(_ask(client, f"{first}/identity/1") for _ in range(job.payload.amount)))
    return {"task": job.payload.task, "requests": len(answers)}


@job_type("failing", payload=FailingPayload, from_text="how", may_be_repeated=True, retry=Retry(attempts=3))
def failing(job: RunningJob[FailingPayload]) -> None:
    match job.payload.how:
        case "transient":
            raise Transient("It was asked to fail for now.", kind="demo")
        case "permanent":
            raise Permanent("It was asked to fail for good.", kind="demo")
        case "error":
            raise RuntimeError("It was asked to fail as nobody foresees.")


@job_type("ekyc-verification", payload=UserPayload, may_be_repeated=True, time_limit_seconds=20.0)
async def verify(job: RunningJob[UserPayload]) -> dict[str, Any]:
    """Asks both services side by side; verified is whom the one knows and the other has nothing against."""
    first, second = _services()
    user = job.payload.user_id
    async with _client(job) as client:
        identity, sanctions = await asyncio.gather(
            _ask(client, f"{first}/identity/{user}"), _ask(client, f"{second}/sanctions/{user}")
        )
    is_verified = identity["matches"] and not sanctions["hits"]
    return {"user_id": user, "verified": is_verified, "identity": identity, "sanctions": sanctions}


def _services() -> tuple[str, str]:
    """The URLs of A and B."""
    services = tunables().demo_services
    if len(services) != 2:
        raise ImproperlyConfigured("DEMO_SERVICES: two URLs, separated by a comma; `make run` sets them.")
    return services[0], services[1]


def _client(job: RunningJob[Any]) -> httpx.AsyncClient:
    headers = {"X-Correlation-ID": job.correlation_id, "Idempotency-Key": job.idempotency_key}
    return httpx.AsyncClient(headers=headers, timeout=max(job.seconds_left, 0.1), trust_env=False)


async def _ask(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        answer = await client.get(url)
    except httpx.TransportError as error:
        raise Transient(f"No answer: {type(error).__name__}.", kind="unreachable") from error
    if answer.status_code >= 500:
        raise Transient("A service is down.", kind="downstream", code=answer.status_code)
    if answer.is_error:
        raise Permanent("A service refuses.", kind="downstream", code=answer.status_code)
    found: dict[str, Any] = answer.json()
    return found
