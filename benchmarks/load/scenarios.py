"""What is posted, and how fast. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """`per_second` requests in all, from so many `clients`; with `burst` (seconds on, seconds off) only while it is on.
    `bulk` jobs go into one request, to POST /jobs/batch."""

    what: str
    job: Callable[[int], Body]
    per_second: float
    clients: int = 10
    burst: tuple[float, float] | None = None
    bulk: int = 0

    @property
    def path(self) -> str:
        return "/jobs/batch" if self.bulk else "/jobs"

    def body(self, number: int) -> Body:
        """Of request `number`, from 0; no two jobs of a run are alike."""
        if not self.bulk:
            return self.job(number)
        return {"jobs": [self.job(number * self.bulk + place) for place in range(self.bulk)]}

    def pause(self, seconds: float) -> float:
        """How long to wait, so many seconds after the start, until posting goes on; 0 when it is on."""
        if self.burst is None:
            return 0.0
        on, off = self.burst
        into = seconds % (on + off)
        return 0.0 if into < on else on + off - into


def _email(number: int) -> Body:
    """To nobody: example.org is reserved (RFC 2606)."""
    payload = {"to": f"load-{number}@example.org", "subject": f"Load {number}", "text": "A mail of a load test.\n"}
    return {"type": "email", "payload": payload}


def _of_type(type: str, **payload: Any) -> Callable[[int], Body]:
    """One of the types that `make run` has."""
    return lambda number: {"type": type, "payload": {"task": f"load {number}", **payload}}


def _failing(number: int) -> Body:
    return {"type": "failing", "payload": ("transient", "permanent")[number % 2]}


SCENARIOS = {
    "steady": Scenario("emails, evenly", _email, per_second=20),
    "burst": Scenario("emails, 3 s at full speed and 7 s of silence", _email, per_second=200, clients=20, burst=(3, 7)),
    "failing": Scenario("jobs that fail, for now and for good by turns", _failing, per_second=5),
    "cpu": Scenario("jobs that compute", _of_type("cpu_intensive", amount=5), per_second=5),
    "io": Scenario("jobs that write and read a file", _of_type("io_intensive", amount=200), per_second=5),
    "network": Scenario("jobs that ask a service five times", _of_type("network_task", amount=5), per_second=5),
    "high-volume": Scenario("emails, 200 a request", _email, per_second=5, bulk=200),
}
