"""How far the first job of a story has come when it opens. What matters most happens after long beginnings."""

from __future__ import annotations

from jobs.states import Decision
from tests.jobs.transitions.play import Answer, Play
from tests.jobs.transitions.world import Trip, Worker

LAST_CHAPTER = 6


def open_in(chapter: int, play: Play) -> None:
    """1: its mark was committed. 2: its dot is on the wire. 3: its worker was declared dead. 4: somebody decided to
    send it again. 5: another worker claimed it, and turned back. 6: came again, and has its mark, too."""
    first, second = play.world.workers
    if chapter >= 1:
        _go_up_to_the_mark(play, _claim(play, first))
    if chapter >= 2:
        play.write_the_dot(play.world.trips[0])
    if chapter >= 3:
        play.rescue()
    if chapter >= 4:
        play.decide(play.letters[0], Decision.SEND_AGAIN)
    if chapter >= 5:
        play.turn_back(_claim(play, second))
        play.record(second, 1, Answer.HEARD)
    if chapter >= 6:
        play.promote()
        _go_up_to_the_mark(play, _claim(play, second))


def _claim(play: Play, worker: Worker) -> Trip:
    play.claim(worker, play.world.jobs[:1], Answer.HEARD)
    return play.world.trips[-1]


def _go_up_to_the_mark(play: Play, trip: Trip) -> None:
    play.gate([trip], Answer.HEARD)
    play.ask_for_the_mark(trip)
    play.record(trip.worker, 1, Answer.HEARD)
