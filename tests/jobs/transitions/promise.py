"""The promise (DESIGN §1), held against what servers really were given.

- *Never sent twice by the machine.* Of one key no more messages are, or may still be, accepted than one, and one more
  for each `send_again` and each override that was recorded (by a person, or by the job's policy). The dots that may
  still be written are counted too, from the mark on: a zombie past its mark may write its dot after the decision. That
  nothing is marked any more after `sent` and `dropped` is in the picture of the delivery.
- *Never said wrongly.* Of a job that is cancelled, expired or failed no message was, or may still be, accepted, unless
  a person dropped the unknown. Of one that is completed one was; or of the job that it is a duplicate of; or somebody
  said so. What is unknown was really marked, and no answer to it was written down.
- *Never lost.* Once everybody has ended what he holds (last_act.py), each job is final, or waits for a person who
  finds an open dead letter.
"""

from __future__ import annotations

from typing import Any

from jobs.settlements import REFUSALS
from jobs.states import FINAL
from tests.jobs.transitions.observer import Books
from tests.jobs.transitions.world import Job, World


def check_promise(world: World, books: Books) -> None:
    _check_that_nothing_is_sent_twice(world, books)
    for job in world.jobs:
        row = books.jobs[job.id]
        if row.status == "completed":
            assert _went_out(world, books, row), f"{job} is completed, but nothing was accepted"
        elif row.status in FINAL and not _is_dropped(books, row):
            assert not world.messages(job), f"{job} is {row.status}, but its message was or may be accepted"
    for delivery in books.deliveries.values():
        if delivery.state == "unknown":
            _check_that_it_is_unknown(world, books, delivery)


def _check_that_nothing_is_sent_twice(world: World, books: Books) -> None:
    for key in {job.key for job in world.jobs}:
        rivals = [job for job in world.jobs if job.key == key]
        messages = sum(world.messages(job) for job in rivals)
        again = sum(_decisions(books, job, "send_again", "override") for job in rivals)
        assert messages <= 1 + again, f"{messages} messages of {rivals} were or may be accepted; sent again: {again}"


def _check_that_it_is_unknown(world: World, books: Books, delivery: Any) -> None:
    """In doubt is a job that was marked before: its last attempt may end in any way."""
    if not books.jobs[delivery.job_id].in_doubt:
        trip = world.trip(delivery.claim)
        assert trip is not None, f"unknown, but claimed by nobody: {delivery}"
        assert trip.was_marked, f"unknown, but never marked: {delivery}"
        assert not books.outcomes(delivery.claim) & REFUSED, f"unknown, but refused: {delivery}"
    assert "sent" not in books.outcomes(delivery.claim), f"unknown, but sent: {delivery}"


REFUSED = {outcome.value for outcome in REFUSALS}


def _decisions(books: Books, job: Job, *resolutions: str) -> int:
    return sum(letter.resolution in resolutions for letter in books.letters_of(job.id))


def _went_out(world: World, books: Books, row: Any) -> bool:
    job = world.job(row.duplicate_of or row.id)
    return world.was_accepted(job) or _decisions(books, job, "mark_sent") > 0


def _is_dropped(books: Books, row: Any) -> bool:
    """A person dropped its unknown, or that of the job beside which it waited."""
    letters = books.letters_of(row.id) if row.status == "failed" else []
    return any(letter.resolution == "drop" or letter.reason == "dropped" for letter in letters)


def waiting_for_the_machine(books: Books) -> list[Any]:
    """Jobs that neither have ended nor wait for a person."""
    return [row for row in books.jobs.values() if row.status not in FINAL and not _waits_for_a_person(books, row)]


def _waits_for_a_person(books: Books, row: Any) -> bool:
    """Unknown with an open dead letter; or held beside such a one."""
    delivery = books.delivery_of(row)
    if row.status != "unknown" or delivery is None or delivery.state != "unknown":
        return False
    letters = [letter for letter in books.letters_of(delivery.job_id) if letter.claim == delivery.claim]
    return any(letter.reason == "unknown" and letter.resolution is None for letter in letters)
