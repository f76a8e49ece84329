"""What one run leaves behind: who saw what, and when. The judge reads this and nothing else.

Four books that know nothing of each other: the clients' (what they were answered), the SMTP server's (what it heard,
kept and said), the witness's (every committed move in PostgreSQL), and the diary of what was done to the platform.
Beside them the tables as they stood in the end. All times are seconds since 1970 by this machine's clock, which
PostgreSQL here shares.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct


class Offer(Struct, frozen=True):
    """A job as the plan has it. Of the jobs of one `group` at most one may be sent; with "" each is for itself."""

    number: int
    recipient: str
    group: str
    key: str | None = None  # Idempotency-Key


class Answer(Struct, frozen=True):
    """A 2xx that a client has heard."""

    number: int
    job: str
    at: float
    api: int = 1
    is_replay: bool = False


class Loss(Struct, frozen=True):
    """A request whose answer never came: without a key nobody can know whether it was accepted."""

    number: int
    at: float


class Complaint(Struct, frozen=True):
    """A 5xx that a client has heard."""

    status: int
    api: int
    at: float


class Refusal(Struct, frozen=True):
    """A final 4xx for a job that is as it should be, or a client that never got an answer."""

    number: int
    said: str


class Mail(Struct, frozen=True):
    """A message whose dot the SMTP server has heard."""

    job: str  # X-Job-ID
    recipient: str
    kept: bool
    heard_at: float
    answer: str | None = None  # None: it never said anything
    answered_at: float | None = None
    connection: int = 0
    is_whole: bool = True  # its text is the one that was submitted


class Deed(Struct, frozen=True):
    """Something out of the ordinary that the SMTP server did to a job on purpose."""

    recipient: str
    phase: str
    did: str  # "drop", "stall", "451 4.3.0 …", …
    at: float
    connection: int = 0

    @property
    def is_permanent(self) -> bool:
        return self.did.startswith("5")

    @property
    def is_silent(self) -> bool:
        """Nobody will ever answer this dot, or one that was on its way."""
        if self.did == "354 and drop":
            return True
        return self.phase in ("body", "dot") and self.did != "slow" and not self.did[:1].isdigit()


class Row(Struct, frozen=True):
    """A row of jobs_job in the end."""

    id: str
    status: str
    recipient: str = ""
    key: str | None = None
    claim: int | None = None
    held_behind: str | None = None
    duplicate_of: str | None = None
    attempts: int = 0
    error: str = ""


class Delivery(Struct, frozen=True):
    """A row of jobs_delivery in the end."""

    job: str
    state: str
    claim: int | None = None


class Attempt(Struct, frozen=True):
    """A line of the product's own history: what it says it was told."""

    job: str
    claim: int
    outcome: str
    at: float
    kind: str = ""
    detail: str = ""


class Decision(Struct, frozen=True):
    """A dead letter that was closed, and how."""

    job: str
    resolution: str


class Move(Struct, frozen=True):
    """A committed change of a job's status or claim (old "": inserted, new "": deleted)."""

    job: str
    old: str
    new: str
    at: float
    claim: int | None = None
    worker: str | None = None


class Step(Struct, frozen=True):
    """A committed change of a delivery's state or claim; a step to `dot` is a mark."""

    job: str
    old: str
    new: str
    at: float
    claim: int | None = None


class Hand(Struct, frozen=True):
    """A worker process: its id in the rows, and which process that was."""

    worker: str
    pid: int
    at: float


class Beat(Struct, frozen=True):
    worker: str
    at: float


class Event(Struct):
    """Something that was done to the platform. `over_at`: the process or server was started again, and answers."""

    fault: str
    target: str
    at: float
    pid: int | None = None
    over_at: float | None = None


class Fall(Struct, frozen=True):
    """A process that ended though nobody had ended it."""

    process: str
    at: float
    words: str = ""


class Run(Struct, frozen=True):
    """What was asked for."""

    seed: int
    jobs: int
    minutes: float
    workers: int
    schedulers: int
    faults: str
    periods: dict[str, str] = {}


class Audit(Struct, frozen=True):
    """What `manage.py audit` said."""

    holds: bool
    words: str = ""


class Evidence(Struct):
    run: Run
    offers: list[Offer] = []
    answers: list[Answer] = []
    losses: list[Loss] = []
    complaints: list[Complaint] = []
    refusals: list[Refusal] = []
    statuses: dict[str, int] = {}  # how often the clients heard which HTTP status
    mails: list[Mail] = []
    deeds: list[Deed] = []
    rows: list[Row] = []
    deliveries: list[Delivery] = []
    attempts: list[Attempt] = []
    decisions: list[Decision] = []
    moves: list[Move] = []
    steps: list[Step] = []
    hands: list[Hand] = []
    beats: list[Beat] = []
    events: list[Event] = []
    falls: list[Fall] = []
    audit: Audit = Audit(holds=False, words="It was not run.")
    began_at: float = 0.0
    ended_at: float = 0.0
    took_seconds: float = 0.0

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """OSError or ValueError when it cannot be read."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
