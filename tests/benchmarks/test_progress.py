"""Who waits is told how long, roughly."""

from __future__ import annotations

from benchmarks.progress import Progress
from benchmarks.rounds import Turn


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def turn(number=1, place=0, workload="mail"):
    return Turn(workload, number, 3, "Celery", place, 2)


def test_what_is_left_is_what_the_last_run_took():
    clock = Clock()
    progress = Progress(["mail", "api"], {"mail": 120.0, "api": 300.0}, clock=clock)
    progress.begin("mail")

    assert progress.line(turn()) == "[1/2] mail, round 1 of 3: Celery … about 7 min left"

    clock.now = 60.0
    assert progress.line(turn(number=2, place=1)).endswith("about 6 min left")  # half of it took 60 s


def test_a_slower_run_takes_longer():
    clock = Clock()
    progress = Progress(["mail"], {"mail": 10.0}, clock=clock)
    progress.begin("mail")
    progress.line(turn())
    clock.now = 30.0

    assert progress.line(turn(number=2, place=1)).endswith("about 30 s left")


def test_getting_ready_is_not_part_of_the_rounds():
    clock = Clock()
    progress = Progress(["growth"], {}, clock=clock)
    progress.begin("growth")
    clock.now = 300.0
    progress.line(turn())
    clock.now = 320.0

    assert progress.line(turn(number=1, place=1)).endswith("about 2 min left")  # a sixth took 20 s


def test_what_nobody_has_measured_is_guessed_from_the_others():
    clock = Clock()
    progress = Progress(["mail", "api", "growth"], {}, clock=clock)
    progress.begin("mail")
    assert progress.line(turn()).endswith("Celery …")

    clock.now = 20.0
    assert progress.end() == 20.0
    progress.begin("api")

    assert progress.line(turn(workload="api")) == "[2/3] api, round 1 of 3: Celery … about 40 s left"


def test_before_the_first_round_nothing_is_known_yet():
    progress = Progress(["growth"], {"growth": 600.0}, clock=Clock())
    progress.begin("growth")

    line = progress.line(Turn("growth", 0, 3, "1,000,000 old rows, job 1"))

    assert line == "[1/1] growth, getting ready: 1,000,000 old rows, job 1 … about 10 min left"
