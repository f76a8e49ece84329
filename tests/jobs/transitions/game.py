"""The protocol as a game: whoever can do something now may do it, in any order. `GAME` and `TROUBLES` are all there is.

hypothesis plays it. There is one rule with a list of our own, not a rule for each act: in most of its runs hypothesis
leaves many rules out, and without each single step of a trip no dot is ever written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from jobs.resolutions import TAKEN_BY
from jobs.states import LIVE, Decision, OnUnknown
from tests.jobs.transitions.first_act import LAST_CHAPTER, open_in
from tests.jobs.transitions.last_act import end
from tests.jobs.transitions.play import LIMIT, Answer, Ending, Letter, Play, Reply
from tests.jobs.transitions.world import Dot, Job, Step, Trip, Worker

T = TypeVar("T")

MOST_JOBS = 12
MOST_AT_ONCE = 4
MOST_WORKERS = 4
OPEN_KEYS = 2  # few, so that jobs compete; and fresh ones, for of a key that was sent all others are duplicates
ANSWERS = [*[Answer.HEARD] * 8, Answer.LOST, Answer.NEVER]  # mostly all goes well, else no story gets far

NOTHING = object()  # what an act that needs nobody is done with


class Pick:
    """Draws. What stands first is what hypothesis does when it has no ideas, and reduces falsifying examples to."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def number(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most)) if least < most else least

    def one(self, choices: Sequence[T]) -> T:
        return choices[self.number(0, len(choices) - 1)]

    def some(self, choices: Sequence[T], *, at_least: int = 1) -> list[T]:
        """In any order."""
        left, picked = list(choices), []
        while left and (len(picked) < at_least or self.number(0, 1)):
            picked.append(left.pop(self.number(0, len(left) - 1)))
        return picked


class Kind(NamedTuple):
    """A kind of act: how often, what, with whom or what (nobody and nothing: it cannot be done now), and how."""

    often: int
    do: Callable[..., None]
    with_: Callable[[Play], Sequence[Any]]
    how: Callable[[Pick, Play, Any], tuple[Any, ...]] = lambda pick, play, it: ()


class Act:
    """One act; it is told as a call."""

    def __init__(self, do: Callable[..., None], *arguments: Any) -> None:
        self.do, self.arguments = do, arguments

    def __repr__(self) -> str:
        return f"{self.do.__name__}({', '.join(map(_told, self.arguments))})"


def _told(argument: Any) -> str:
    return f"{type(argument).__name__}.{argument.name}" if isinstance(argument, Enum) else repr(argument)


# ── With whom, or what ────────────────────────────────────────────────────────────────────────


def jobs_in(*statuses: str) -> Callable[[Play], Sequence[Any]]:
    return lambda play: play.jobs_in(*statuses)


def trips(*steps: Step) -> Callable[[Play], Sequence[Trip]]:
    return lambda play: play.world.trips_at(*steps)


def dots(play: Play) -> list[Dot]:
    return play.world.undecided_dots()


def waiting_jobs_in_doubt(play: Play) -> list[Job]:
    return play.jobs_where(lambda row: row.in_doubt and row.status in {"scheduled", "queued"})


def trips_in_doubt(*steps: Step) -> Callable[[Play], Sequence[Trip]]:
    return lambda play: [trip for trip in play.world.trips_at(*steps) if play.row(trip.job).in_doubt]


def overtaken_trips(play: Play) -> list[Trip]:
    """Another claim of their key was marked meanwhile."""
    sending = play.world.trips_at(Step.SENDING)
    return [trip for trip in sending if play.state_of_key(trip.job) == "dot" and not play.holds(trip)]


def overtaken_dots(play: Play) -> list[Dot]:
    return [trip.dots[-1] for trip in overtaken_trips(play) if trip.dots[-1].fate is None]


def dots_of_released_keys(play: Play) -> list[Dot]:
    """After send_again, and before anybody took the key: the late reply still counts."""
    sending = play.world.trips_at(Step.SENDING)
    late = [trip for trip in sending if play.state_of_key(trip.job) == "released" and play.holds(trip)]
    return [trip.dots[-1] for trip in late if trip.dots[-1].fate is None]


def keys(play: Play) -> list[str | None]:
    has_room = len(play.world.jobs) < MOST_JOBS and len(play.jobs_in(*LIVE)) < MOST_AT_ONCE
    return [*play.open_keys(OPEN_KEYS), None] if has_room else []


def takers(play: Play) -> list[Worker]:
    """Who is in the middle of a sweep takes nothing: one thread does both."""
    return [worker for worker in play.world.living if worker.unheard is None]


def takers_of_something(play: Play) -> list[Worker]:
    return takers(play) if play.jobs_in("queued") else []


def batches(play: Play) -> list[list[Trip]]:
    """What each worker has claimed, and not yet taken to the gate."""
    claimed = play.world.trips_at(Step.CLAIMED)
    of_each = [[trip for trip in claimed if trip.worker is worker] for worker in takers(play)]
    return [batch for batch in of_each if batch]


def listed_batches(play: Play) -> list[list[Trip]]:
    """Likewise what the gate would not let in alone."""
    listed = play.world.trips_at(Step.LISTED)
    of_each = [[trip for trip in listed if trip.worker is worker] for worker in takers(play)]
    return [batch for batch in of_each if batch]


def suppressed_jobs(play: Play) -> list[Job]:
    return [job for job in play.world.jobs if play.listed(job)]


def unaware(play: Play) -> list[Worker]:
    return [worker for worker in takers(play) if play.is_unaware(worker)]


def sweepers(play: Play) -> list[Worker]:
    return [worker for worker in play.world.living if worker.unheard is not None]


def recorders(play: Play) -> list[Worker]:
    return [worker for worker in play.world.living if worker.requests]


def ending_trips(play: Play) -> list[Trip]:
    return [trip for trip in play.world.trips_at(Step.RECORDING) if play.is_ending(trip)]


def silent(play: Play) -> list[Worker]:
    return [worker for worker in play.world.living if not worker.is_beating]


def beating(play: Play) -> list[Worker]:
    return [worker for worker in play.world.workers if worker.is_beating]


def all_but_one(play: Play) -> list[Worker]:
    return play.world.living[1:]


def marked_jobs_of_the_silent(play: Play) -> list[Any]:
    return [job for job in play.jobs_of_the_silent() if play.state_of_key(job) == "dot"]


def jobs_with_a_policy(play: Play) -> list[Any]:
    return play.jobs_where(lambda row: row.status == "unknown" and row.on_unknown != OnUnknown.HOLD)


def unknowns(play: Play) -> list[Letter]:
    return [letter for letter in play.letters if letter.is_open and letter.reason == "unknown"]


def deaths(play: Play) -> list[Letter]:
    return [letter for letter in play.letters if letter.is_open and letter.reason != "unknown"]


def decided(play: Play) -> list[Letter]:
    """Seen on a page that was opened long ago."""
    return [letter for letter in play.letters if not letter.is_open]


def there_is_room_for_a_worker(play: Play) -> bool:
    return len(play.world.workers) < MOST_WORKERS


def when(condition: Callable[[Play], Any]) -> Callable[[Play], list[Any]]:
    return lambda play: [NOTHING] if condition(play) else []


def limits(jobs: Callable[[Play], Sequence[Any]]) -> Callable[[Play], list[int]]:
    """If there are any: all at once, or one by one."""
    return lambda play: [LIMIT, 1] if jobs(play) else []


# ── And how ───────────────────────────────────────────────────────────────────────────────────


def one_of(*choices: Any) -> Callable[[Pick, Play, Any], tuple[Any, ...]]:
    return lambda pick, play, it: (pick.one(choices),)


def options(pick: Pick, play: Play, key: str | None) -> tuple[Any, ...]:
    return pick.number(1, 3), pick.one(list(OnUnknown)), pick.one([None, None, 3600.0])


def ids_and_answer(pick: Pick, play: Play, worker: Worker) -> tuple[Any, ...]:
    """Ids may lie in the lists for long, and twice: one may be of a job that does not wait (any more)."""
    ids = pick.some(play.jobs_in("queued"))
    stale = [job for job in play.world.jobs if job not in ids]
    if stale and pick.number(0, 3) == 3:
        ids.append(pick.one(stale))
    return ids, pick.one(ANSWERS)


def answer_and_lies(pick: Pick, play: Play, batch: list[Trip]) -> tuple[Any, ...]:
    return pick.one(ANSWERS), pick.some(batch, at_least=0)


def count_and_answer(pick: Pick, play: Play, worker: Worker) -> tuple[Any, ...]:
    most = len(worker.requests)
    return most - pick.number(0, most - 1), pick.one(ANSWERS)


# What leads furthest stands first: a story without ideas is one in which all goes well.
GAME = [
    Kind(8, Play.reply, dots, one_of(*Reply, Reply.YES_UNHEARD)),
    Kind(16, Play.write_the_dot, trips(Step.MARKED)),
    Kind(32, Play.record, recorders, count_and_answer),
    Kind(32, Play.ask_for_the_mark, trips(Step.ADMITTED)),
    Kind(32, Play.gate, batches, answer_and_lies),
    Kind(32, Play.leave_out, listed_batches, one_of(*ANSWERS)),
    Kind(12, Play.claim, takers_of_something, ids_and_answer),
    Kind(12, Play.sweep, sweepers),
    Kind(12, Play.look, unaware),
    Kind(12, Play.promote, when(jobs_in("scheduled"))),
    Kind(12, Play.wake, when(Play.held_jobs)),
    Kind(12, Play.decide, unknowns, one_of(*Decision, Decision.SEND_AGAIN)),
    Kind(4, Play.accept, keys, options),
    Kind(8, Play.rescue, limits(marked_jobs_of_the_silent)),
    Kind(1, Play.rescue, limits(Play.jobs_of_the_silent)),
    # Moments that are rare, and matter.
    Kind(24, Play.reply, overtaken_dots, one_of(*Reply)),
    Kind(24, Play.refuse_for_now, overtaken_dots, one_of(*ANSWERS)),
    Kind(24, Play.give_up, overtaken_trips),
    Kind(12, Play.reply, dots_of_released_keys, one_of(*Reply)),
    Kind(4, Play.cancel, waiting_jobs_in_doubt),
    Kind(4, Play.expire, waiting_jobs_in_doubt),
    Kind(16, Play.turn_back, trips_in_doubt(Step.CLAIMED)),
    Kind(8, Play.suppress, waiting_jobs_in_doubt, one_of(2, 1)),
    Kind(16, Play.end_before_the_mark, trips_in_doubt(Step.ADMITTED), one_of(*Ending)),
]
# Some of these are left out of each run, which leaves more room for the others.
TROUBLES = [
    Kind(4, Play.give_up, trips(Step.SENDING)),
    Kind(4, Play.end_before_the_mark, trips(Step.ADMITTED), one_of(*Ending)),
    Kind(2, Play.stop_before_the_dot, trips(Step.MARKED), one_of(True, False)),
    Kind(2, Play.refuse_for_now, dots, one_of(*ANSWERS)),
    Kind(2, Play.turn_back, trips(Step.CLAIMED)),
    Kind(2, Play.turn_back, trips(Step.LISTED)),
    Kind(1, Play.suppress, jobs_in("scheduled", "queued", "running"), one_of(1, 2)),
    Kind(1, Play.lift, suppressed_jobs),
    Kind(2, Play.forget, ending_trips),
    Kind(4, Play.apply_policies, when(jobs_with_a_policy)),
    Kind(4, Play.ask_providers, when(unknowns)),
    Kind(4, Play.conclude, lambda play: play.world.answers),
    Kind(4, Play.requeue, deaths, one_of(False, True)),
    Kind(1, Play.discard, deaths),
    Kind(1, Play.requeue, decided, one_of(False, True)),
    Kind(1, Play.discard, decided),
    Kind(1, Play.decide, decided, one_of(*Decision)),
    Kind(1, Play.decide_all, lambda play: list(TAKEN_BY) if play.letters else [], one_of(False, True)),
    Kind(1, Play.expire, jobs_in("running", "unknown")),
    Kind(1, Play.cancel, jobs_in("scheduled", "queued", "unknown")),
    Kind(1, Play.beat, silent),
    Kind(1, Play.fall_silent, beating),
    Kind(1, Play.start, when(there_is_room_for_a_worker)),
    Kind(1, Play.kill, all_but_one),
]


@st.composite
def anything(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Act:
    """Something that somebody can do now."""
    machine = draw(st.runner())
    play, pick = machine.play, Pick(draw)
    possible = [(kind, choices) for kind in machine.kinds if (choices := kind.with_(play))]
    if not possible:
        return Act(Play.rest)
    kind, choices = pick.one([it for it in possible for _ in range(it[0].often)])
    it = pick.one(choices)
    return Act(kind.do, *([] if it is NOTHING else [it]), *kind.how(pick, play, it))


class Protocol(RuleBasedStateMachine):
    def __init__(self, eyes: psycopg.Connection[Any]) -> None:
        super().__init__()
        self.play = Play(eyes)

    @initialize(
        keys=st.lists(st.sampled_from(["k0", "k1", None]), min_size=2, max_size=4),
        chapter=st.integers(0, LAST_CHAPTER),
        without=st.sets(st.integers(0, len(TROUBLES) - 1)),
    )
    def begin(self, keys: list[str | None], chapter: int, without: set[int]) -> None:
        """Two workers and some jobs, one of which may have had its adventures."""
        self.kinds = GAME + [kind for number, kind in enumerate(TROUBLES) if number not in without]
        self.play.start()
        self.play.start()
        for key in keys:
            self.play.accept(key)
        open_in(chapter, self.play)

    @rule(act=anything())
    def then(self, act: Act) -> None:
        act.do(self.play, *act.arguments)

    def teardown(self) -> None:
        if not self.play.observer.has_failed:
            end(self.play)
