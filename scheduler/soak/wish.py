"""What a run is asked for, and the periods that follow from its length."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_TTL_SECONDS = 120
LONGEST_WARM_UP_SECONDS = 300.0
LONGEST_SAMPLE_SECONDS = 10.0


@dataclass(frozen=True)
class Wish:
    """`rate` in jobs per second, `restart_every` in seconds."""

    minutes: float
    rate: float
    workers: int
    apis: int
    restart_every: float
    seed: int
    kill: bool  # SIGKILL instead of SIGTERM

    @property
    def seconds(self) -> float:
        return self.minutes * 60

    @property
    def ttl_seconds(self) -> int:
        """For how long Redis is told to remember a key. It fills until then: with a day, for longer than any run."""
        return int(min(LONGEST_TTL_SECONDS, max(2, self.seconds / 15)))

    @property
    def warm_up_seconds(self) -> float:
        """Caches, pools and Redis fill at first; what grows later, grows."""
        return min(LONGEST_WARM_UP_SECONDS, self.seconds / 4)

    @property
    def sample_seconds(self) -> float:
        return min(LONGEST_SAMPLE_SECONDS, max(1.0, self.seconds / 15))
