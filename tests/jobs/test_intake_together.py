"""Requests of several threads that share a commit, on real servers: each is decided on its own all the same."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.utils import DataError

from jobs import acceptance, intake, queue, requests
from jobs.database import is_away
from jobs.errors import KeyInFlight, KeyReused, Unavailable
from jobs.front_desk import FrontDesk
from jobs.intake import Accepted
from jobs.models import Job
from jobs.requests import JobRequest
from tests.conftest import until
from tests.jobs.conftest import being_accepted

pytestmark = pytest.mark.usefixtures("committed", "bell")

BODY = {"email": "ann@example.org", "name": "Ann"}
OTHER = {"email": "bob@example.org", "name": "Bob"}
NOBODYS_ID = 2_000_000_000


def a_request(body: dict[str, Any] = BODY, key: str | None = None) -> JobRequest:
    return requests.read(body, idempotency_key=key)


def unstorable() -> JobRequest:
    """PostgreSQL refuses a NUL; the door's own rules would, too."""
    return dataclasses.replace(a_request(), payload={"email": "ann@example.org", "name": "\0"})


class Company:
    """Requests that come while somebody is served for long, and so are accepted together."""

    def __init__(self, pool: ThreadPoolExecutor, monkeypatch: Any) -> None:
        self.groups: list[int] = []
        self._asked: list[Future[Accepted]] = []
        self._let_go, self._pool = Event(), pool
        self.desk: FrontDesk[Any, Any] = FrontDesk(self._serve, most=intake.MOST_TOGETHER)
        monkeypatch.setattr(intake, "_desk", self.desk)
        pool.submit(self.desk.ask, None)
        until(lambda: self.desk._is_led and not self.desk._waiting)

    def _serve(self, wishes: Sequence[Any]) -> Sequence[Any]:
        if None in wishes:
            self._let_go.wait(20)
            return wishes
        self.groups.append(len(wishes))
        return intake._accept_together(wishes)

    def joined_by(self, request: JobRequest, owner_id: int, correlation_id: str = "c") -> None:
        def accept() -> Accepted:
            try:
                return intake.accept(request, owner_id=owner_id, correlation_id=correlation_id)
            finally:
                connections.close_all()

        before = len(self.desk._waiting)
        self._asked.append(self._pool.submit(accept))
        until(lambda: len(self.desk._waiting) == before + 1)

    def hear(self, within: float = 20.0) -> list[Accepted | BaseException]:
        """What each is told, in the order in which they came."""
        self.go_on()
        return [future.exception(within) or future.result() for future in self._asked]

    def go_on(self) -> None:
        self._let_go.set()


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    with ThreadPoolExecutor(20) as pool:
        company = Company(pool, monkeypatch)
        yield company
        company.go_on()


@pytest.fixture
def owner_id(make_user: Callable[..., Any]) -> int:
    return int(make_user().pk)


def rows() -> dict[Any, Job]:
    return {job.id: job for job in Job.objects.all()}


def commits() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM jobs_job")
        return int(cursor.fetchone()[0])


# ── Each on its own ───────────────────────────────────────────────────────────────────────────


def test_strangers_share_a_commit_and_nothing_else(company, make_user, monkeypatch):
    rung = []
    announce = queue.announce
    monkeypatch.setattr(
        queue, "announce", lambda waiting, **keys: rung.append(list(waiting)) or announce(waiting, **keys)
    )
    owners = [make_user().pk for _ in range(3)]
    for owner in owners:
        company.joined_by(a_request(key="k"), owner, correlation_id=f"of {owner}")

    answers = company.hear()

    assert company.groups == [3]
    assert commits() == 1
    found = [rows()[answer.job_id] for answer in answers]
    assert [job.owner_id for job in found] == owners
    assert [job.correlation_id for job in found] == [f"of {owner}" for owner in owners]
    assert [answer.is_replay for answer in answers] == [False] * 3
    assert [{waiting.job_id for waiting in call} for call in rung] == [set(rows())]
    assert queue.depths()["default"] == 3


def test_one_key_twice_in_a_group_is_one_job_and_its_replay(company, owner_id):
    for body in (BODY, BODY, OTHER):
        company.joined_by(a_request(body, key="k"), owner_id)

    first, again, other = company.hear()

    assert company.groups == [3]
    assert list(rows()) == [first.job_id] == [again.job_id]
    assert (first.is_replay, again.is_replay) == (False, True)
    assert isinstance(other, KeyReused)


def test_new_ones_and_replays_and_lies_of_redis_are_told_apart(company, owner_id, monkeypatch):
    old = intake._accept_each([intake._wish(a_request(key="old"), owner_id=owner_id, correlation_id="c")])[0]
    recall = queue.recall_keys
    monkeypatch.setattr(
        queue, "recall_keys", lambda keys: recall(keys) | {key: old.job_id for key in keys if key.text == "lie"}
    )
    for key in ("old", "lie", None):
        company.joined_by(a_request(key=key), owner_id)

    replay, lied_about, new = company.hear()

    assert replay == Accepted(old.job_id, old.status, is_replay=True)
    assert len({old.job_id, lied_about.job_id, new.job_id}) == 3
    assert set(rows()) == {old.job_id, lied_about.job_id, new.job_id}


@pytest.mark.parametrize(("bad", "error"), [("owner", IntegrityError), ("row", DataError)])
def test_what_postgresql_refuses_takes_nobody_with_it(company, owner_id, bad, error):
    company.joined_by(a_request(key="a"), owner_id)
    company.joined_by(unstorable() if bad == "row" else a_request(), NOBODYS_ID if bad == "owner" else owner_id)
    company.joined_by(a_request(), owner_id)

    first, refused, last = company.hear()

    assert company.groups == [3]
    assert isinstance(refused, error)
    assert set(rows()) == {first.job_id, last.job_id}
    assert queue.depths()["default"] == 2


@pytest.mark.slow
def test_a_key_that_is_being_accepted_elsewhere_holds_up_its_own_request_only(company, owner_id):
    ended = {}
    company.joined_by(a_request(key="slow"), owner_id)
    company.joined_by(a_request(key="mine"), owner_id)
    company.joined_by(a_request(), owner_id)
    for number, future in enumerate(company._asked):
        future.add_done_callback(lambda _, number=number: ended.setdefault(number, time.monotonic()))

    with being_accepted(BODY, owner_id=owner_id, key="slow"):
        began = time.monotonic()
        in_flight, mine, keyless = company.hear()

    assert isinstance(in_flight, KeyInFlight)
    assert ended[0] - began >= intake.PATIENCE_SECONDS
    assert max(ended[1], ended[2]) - began < 1.0
    assert {mine.job_id, keyless.job_id} < set(rows())


def test_a_look_for_the_first_answers_that_fails_leaves_the_others_theirs(company, owner_id, monkeypatch):
    look, failures = acceptance.first_answers, [OperationalError("gone")]

    def fail_once(keys):
        if failures:
            raise failures.pop()
        return look(keys)

    monkeypatch.setattr(acceptance, "first_answers", fail_once)
    for body in (BODY, BODY):
        company.joined_by(a_request(body, key="k"), owner_id)

    first, again = company.hear()

    assert (first.is_replay, again.is_replay) == (False, True)
    assert list(rows()) == [first.job_id] == [again.job_id]


# ── Who goes alone ────────────────────────────────────────────────────────────────────────────


def test_who_is_in_a_transaction_of_his_own_accepts_for_nobody_else(company, owner_id):
    with transaction.atomic():
        mine = intake.accept(a_request(key="k"), owner_id=owner_id, correlation_id="c")
        again = intake.accept(a_request(key="k"), owner_id=owner_id, correlation_id="c")

    assert (again.job_id, again.is_replay) == (mine.job_id, True)
    assert company.groups == []


def test_a_large_job_holds_nobody_up(company, owner_id):
    payload = {"to": "ann@example.org", "subject": "Hi", "text": "x" * intake.LARGE_BYTES}
    large = a_request({"type": "email", "payload": payload}, key="k")

    first = intake.accept(large, owner_id=owner_id, correlation_id="c")

    assert intake.accept(large, owner_id=owner_id, correlation_id="c") == dataclasses.replace(first, is_replay=True)
    assert company.groups == []


# ── Away ──────────────────────────────────────────────────────────────────────────────────────


def test_while_redis_is_away_all_are_accepted(company, owner_id, own_redis):
    own_redis.kill()
    for key in ("a", "b", "a"):
        company.joined_by(a_request(key=key), owner_id)

    answers = company.hear()

    assert company.groups == [3]
    assert [answer.is_replay for answer in answers] == [False, False, True]
    assert len(rows()) == 2


def test_while_postgresql_is_away_all_are_told_and_none_is_accepted(company, owner_id, postgres):
    for key in ("a", None):
        company.joined_by(a_request(key=key), owner_id)
    postgres.go_away()

    answers = company.hear()
    postgres.come_back()

    assert company.groups == [2]
    assert all(isinstance(answer, BaseException) and is_away(answer) for answer in answers)
    assert rows() == {}
    assert not intake.accept(a_request(key="a"), owner_id=owner_id, correlation_id="c").is_replay


def test_a_commit_whose_answer_is_lost_is_not_tried_again(company, owner_id, monkeypatch):
    """Without a key a second try would be a second job. Who has one asks again, and hears of the first."""
    insert, calls = acceptance.accept, []

    def lose_the_answer(jobs, **how):
        calls.append(len(jobs))
        insert(jobs, **how)
        raise OperationalError("server closed the connection unexpectedly")

    for key in ("a", None):
        company.joined_by(a_request(key=key), owner_id)
    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "accept", lose_the_answer)
        answers = company.hear()

    assert calls == [2]
    assert all(isinstance(answer, OperationalError) for answer in answers)
    assert len(rows()) == 2
    assert intake.accept(a_request(key="a"), owner_id=owner_id, correlation_id="c").is_replay


def test_a_leader_that_dies_promises_nothing_to_the_others(company, owner_id, monkeypatch):
    insert = acceptance.accept

    def die(jobs, **how):
        if len(jobs) > 1:
            raise SystemExit
        return insert(jobs, **how)

    monkeypatch.setattr(acceptance, "accept", die)
    for key in ("a", "b"):
        company.joined_by(a_request(key=key), owner_id)

    leader, other = company.hear()

    assert isinstance(leader, SystemExit)
    assert isinstance(other, Unavailable)
    assert other.retry_after
    assert rows() == {}
    assert not intake.accept(a_request(key="b"), owner_id=owner_id, correlation_id="c").is_replay


# ── A crowd ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_in_a_crowd_every_answer_is_a_committed_row_and_every_key_one_job(make_user):
    owners = [make_user().pk for _ in range(4)]

    def come(number: int) -> list[tuple[int, str, Accepted]]:
        owner = owners[number % 4]
        heard = []
        for turn in range(25):
            key = f"k{turn}"  # four threads of each owner say it at about the same time
            accepted = intake.accept(a_request(key=key), owner_id=owner, correlation_id="c")
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM jobs_job WHERE id = %s", [accepted.job_id])
                assert cursor.fetchone() == (1,)
            heard.append((owner, key, accepted))
        connections.close_all()
        return heard

    with ThreadPoolExecutor(16) as pool:
        heard = [each for answers in pool.map(come, range(16)) for each in answers]

    first = {(owner, key): answer.job_id for owner, key, answer in heard if not answer.is_replay}
    assert len(first) == sum(not answer.is_replay for _, _, answer in heard) == 100
    assert all(answer.job_id == first[owner, key] for owner, key, answer in heard)
    assert len(rows()) == 100
