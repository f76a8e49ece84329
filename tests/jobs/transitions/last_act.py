"""How a story ends: everybody who lives ends what he holds, the dead are rescued from, and an honest worker with an
honest server does what is left. Whatever went before, no job may stay on its way for ever (promise.py)."""

from __future__ import annotations

from jobs.states import FINAL, Decision
from tests.jobs.transitions.play import Answer, Play, Reply
from tests.jobs.transitions.promise import waiting_for_the_machine
from tests.jobs.transitions.world import Step, Trip, Worker

ROUNDS = 20  # more than any run needs; what goes round for ever needs more


def end(play: Play) -> None:
    for job in play.world.jobs:
        play.lift(job)
    for worker in play.world.workers:
        (play.beat if worker.is_alive else play.fall_silent)(worker)
    play.start()
    honest = play.world.workers[-1]
    play.beat(honest)

    _do_what_is_left(play, honest)
    lost = waiting_for_the_machine(play.observer.books)
    assert not lost, f"lost: {lost}"

    _decide_all(play)
    _do_what_is_left(play, honest)
    lost = [row for row in play.observer.books.jobs.values() if row.status not in FINAL]
    assert not lost, f"lost, although all was decided: {lost}"


def _do_what_is_left(play: Play, honest: Worker) -> None:
    for _ in range(ROUNDS):
        _go_on(play)
        if play.jobs_of_the_silent():
            play.rescue()
        if play.jobs_in("scheduled"):
            play.promote()
        if play.held_jobs():
            play.wake()
        if queued := play.jobs_in("queued"):
            play.claim(honest, queued, Answer.HEARD)
        elif not waiting_for_the_machine(play.observer.books):
            return


def _go_on(play: Play) -> None:
    """Every living worker, zombies too, ends its trips and then gives back what it does not know."""
    while trips := play.world.trips_at(*Step):
        for trip in trips:
            _take_a_step(play, trip)
    for worker in play.world.living:
        if play.is_unaware(worker):
            play.look(worker)
        if worker.unheard is not None:
            play.sweep(worker)


def _take_a_step(play: Play, trip: Trip) -> None:
    match trip.step:
        case Step.CLAIMED:
            play.gate([trip], Answer.HEARD)
        case Step.LISTED:
            play.leave_out([trip], Answer.HEARD)
        case Step.ADMITTED:
            play.ask_for_the_mark(trip)
        case Step.RECORDING:
            play.record(trip.worker, len(trip.worker.requests), Answer.HEARD)
        case Step.MARKED:
            play.write_the_dot(trip)
        case Step.SENDING if trip.dots[-1].fate is None:
            play.reply(trip.dots[-1], Reply.YES)
        case Step.SENDING:
            play.give_up(trip)


def _decide_all(play: Play) -> None:
    """Each open unknown in one of the three ways, in turn."""
    unknown = [letter for letter in play.letters if letter.is_open and letter.reason == "unknown"]
    for number, letter in enumerate(unknown):
        play.decide(letter, list(Decision)[number % len(Decision)])
