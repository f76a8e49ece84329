"""Handlers in processes of their own: what they return, what they raise, and how one that hangs ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from jobs import press, types
from jobs.claims import Claim
from jobs.errors import Invalid, Permanent, Transient, Unanswered
from tests.conftest import add_types, until
from tests.workers.test_settlement import claim as a_claim
from workers.channels.task import HANDLER, TaskChannel
from workers.hands import Hands

JOB = UUID("01a22083-1171-70a2-98c2-88fd9ad6f1c4")


@pytest.fixture(scope="module")
def shop() -> Iterator[None]:
    """The types of tests.shop are known here and in the processes of handlers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOB_APPS", "tests.shop")
        add_types(patch, "tests.shop.job_types")
        press.close()
        forkserver._forkserver._stop()  # one that was started before, for the press, does not know the setting
        yield


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def hands(shop: None, loop: asyncio.Runner) -> Iterator[Hands]:
    hands = Hands(2)
    yield hands
    loop.run(hands.close())


def claim(type: str, payload: dict[str, Any]) -> Claim:
    return a_claim(job_id=JOB, type=type, payload=payload, correlation_id="c-7")


@pytest.fixture
def done(hands: Hands, loop: asyncio.Runner):
    """The result of a job, or what its line raises."""

    async def trip(type: str, payload: dict[str, Any]) -> dict[str, Any]:
        known = types.find(type)
        assert known
        channel = TaskChannel(known, hands)
        parcel = channel.prepare(claim(type, payload))
        async with channel.connect(parcel, *channel.routes(parcel)) as line:
            await line.offer(parcel)
            return (await line.commit()).result

    return lambda type, payload: loop.run(trip(type, payload))


def test_what_a_handler_returns_is_the_result(done):
    result = done("shop.report", {"order": 7})

    assert (result["order"], result["attempt"], result["key"]) == (7, 1, str(JOB))


def test_a_handler_may_be_async_and_knows_its_deadline(done):
    result = done("shop.report-async", {"order": 7})

    assert result["correlation_id"] == "c-7"
    assert 3 < result["seconds_left"] <= 5


@pytest.mark.parametrize(("do", "says"), [("set", "JSON cannot hold"), ("list", "no object"), ("large", "at most")])
def test_what_cannot_be_stored_is_done_all_the_same(done, do, says):
    assert says in done("shop.told", {"do": do})["not_stored"]


def test_a_handler_that_returns_nothing_has_an_empty_result(done):
    assert done("shop.told", {"do": "nothing"}) == {}


def test_a_handler_says_what_may_be_tried_again_and_when(done):
    with pytest.raises(Transient) as caught:
        done("shop.told", {"do": "transient"})

    assert (caught.value.detail, caught.value.kind, caught.value.retry_after) == (
        "The stock is being counted.",
        "counting",
        90.0,
    )


def test_a_handler_says_what_cannot_be_helped(done):
    with pytest.raises(Permanent) as caught:
        done("shop.told", {"do": "permanent"})

    assert (caught.value.detail, caught.value.kind, caught.value.code) == ("There is no such order.", "no_order", 404)


@pytest.mark.parametrize(("type", "doubt"), [("shop.told", Unanswered), ("shop.told-again", Transient)])
@pytest.mark.parametrize(
    ("do", "kind"),
    [("fail", "handler_failed"), ("die", "handler_died"), ("sleep", "time_limit"), ("spin", "time_limit")],
)
def test_how_far_it_came_is_unknown_unless_it_may_be_repeated(done, type, doubt, do, kind):
    with pytest.raises(doubt) as caught:
        done(type, {"do": do})

    assert caught.value.kind == kind
    assert "ann@" not in caught.value.detail


def test_an_error_that_nobody_foresaw_is_named_by_its_place(done):
    with pytest.raises(Unanswered, match=r"^KeyError at job_types.py:\d+$"):
        done("shop.told", {"do": "fail"})


def test_an_async_handler_is_told_at_its_limit(done):
    with pytest.raises(Transient) as caught:
        done("shop.told-async", {"do": "wait"})

    assert caught.value.kind == "time_limit"


def test_a_handler_that_will_not_end_is_killed_and_others_go_on(done, tmp_path: Path):
    note = tmp_path / "note"

    with pytest.raises(Transient):
        done("shop.told-again", {"do": "ignore", "note": str(note)})

    pid = int(note.read_text().split()[1])
    until(lambda: not psutil.pid_exists(pid))
    assert done("shop.report", {"order": 1})["pid"] != pid


def test_who_is_cancelled_ends_the_process(hands, loop, tmp_path: Path):
    note = tmp_path / "note"
    known = types.find("shop.told-again")
    assert known
    channel = TaskChannel(known, hands)
    parcel = channel.prepare(claim("shop.told-again", {"do": "sleep", "note": str(note)}))

    async def cancelled() -> None:
        async with channel.connect(parcel, *channel.routes(parcel)) as line:
            trip = asyncio.ensure_future(line.commit())
            while not (note.exists() and note.read_text()):
                await asyncio.sleep(0.01)
            trip.cancel()
            with pytest.raises(asyncio.CancelledError):
                await trip

    loop.run(cancelled())
    until(lambda: not psutil.pid_exists(int(note.read_text().split()[1])))


def test_a_payload_that_does_not_fit_any_more_is_invalid_for_good(hands):
    known = types.find("shop.report")
    assert known
    with pytest.raises(Invalid):
        TaskChannel(known, hands).prepare(claim("shop.report", {"order": "seven"}))


def test_nothing_is_left_when_they_are_closed(shop, loop):
    hands = Hands(1)
    known = types.find("shop.report")
    assert known
    channel = TaskChannel(known, hands)

    async def one() -> int:
        async with channel.connect(channel.prepare(claim("shop.report", {"order": 1})), HANDLER) as line:
            return (await line.commit()).result["pid"]

    pid = loop.run(one())
    loop.run(hands.close())
    loop.run(hands.close())

    assert not psutil.pid_exists(pid)


def test_when_a_process_that_had_nothing_to_do_is_killed_the_next_job_gets_another(done, hands):
    """As the kernel does when memory runs out."""
    assert done("shop.report", {"order": 1})["order"] == 1
    pool = hands._pool
    for child in psutil.Process().children(recursive=True):
        if child.parent() != psutil.Process():  # the fork server is our child, the hands are its
            child.kill()
    until(lambda: not pool.active)

    assert [done("shop.report", {"order": number})["order"] for number in range(2)] == [0, 1]
