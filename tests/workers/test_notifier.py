"""Notices, told by Apprise to real HTTP servers: what a no means, and where they may go."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_network

import msgspec
import pytest

from tests.receiver import Receiver, receiver
from workers import notifier
from workers.notifier import Notice
from workers.tasks import Ending, How

TOKEN = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True)
def conf(tunables):
    return tunables(reachable_networks=(ip_network("127.0.0.0/8"),))


@pytest.fixture
def side():
    with receiver() as side:
        yield side


def tell(url: str, **notice: str) -> Ending:
    told = {"title": "Shop", "body": "The till is silent.", "level": "warning", "destination": "on-call"} | notice
    return msgspec.json.decode(notifier.tell(msgspec.json.encode(Notice(url=url, owner_id=1, **told))), type=Ending)


def json_url(side: Receiver) -> str:
    return side.url.replace("http://", "json://") + f"/{TOKEN}"


def test_it_is_told_once(side: Receiver):
    ending = tell(json_url(side))

    assert (ending.how, ending.code) == (How.DONE, 200)
    (heard,) = side.heard
    said = msgspec.json.decode(heard.body)
    assert (said["title"], said["message"], said["type"]) == ("Shop", "The till is silent.", "warning")


def test_apprise_does_not_try_again_by_itself(side: Receiver):
    side.answers = [(503, {}, b"")]

    ending = tell(json_url(side) + "?retry=3&wait=0")

    assert (ending.how, len(side.heard)) == (How.TRANSIENT, 1)


@pytest.mark.parametrize(
    ("status", "headers", "how", "after"),
    [
        (500, {}, How.TRANSIENT, None),
        (503, {"Retry-After": "9"}, How.TRANSIENT, 9.0),
        (429, {}, How.TRANSIENT, None),
        (401, {}, How.PERMANENT, None),
        (404, {}, How.PERMANENT, None),
    ],
)
def test_a_service_that_says_no_is_believed(side: Receiver, status, headers, how, after):
    side.answers = [(status, headers, b"no")]

    ending = tell(json_url(side))

    assert (ending.how, ending.code, ending.retry_after) == (how, status, after)
    assert ending.kind == f"http_{status // 100}xx"
    assert TOKEN not in ending.detail


def test_who_hangs_up_after_the_request_may_have_heard_it(side: Receiver):
    side.answers = [None]

    ending = tell(json_url(side))

    assert (ending.how, ending.kind, len(side.heard)) == (How.UNDONE, "unanswered", 1)


def test_who_was_not_reached_has_heard_nothing():
    with receiver() as side:
        pass

    ending = tell(json_url(side))

    assert (ending.how, ending.kind) == (How.TRANSIENT, "unreachable")


def test_a_name_that_nobody_knows_has_heard_nothing():
    assert tell("json://nowhere.invalid/").how is How.TRANSIENT


def test_of_several_calls_one_that_succeeded_leaves_a_doubt(side: Receiver):
    """Two chats of one address: the first has it, the second refuses."""
    side.answers = [(200, {}, b""), (404, {}, b"")]
    host = side.url.removeprefix("http://")

    ending = tell(f"matrix://{TOKEN}@{host}/#one/#two")

    assert ending.how is How.UNDONE


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_network_is_out_of_reach(side: Receiver, tunables, host):
    tunables(reachable_networks=())

    ending = tell(json_url(side).replace("127.0.0.1", host))

    assert (ending.how, ending.kind) == (How.PERMANENT, "address_refused")
    assert side.heard == []


def test_other_libraries_than_requests_are_kept_in_too(tunables):
    """A mail by smtplib, to a server of ours."""
    tunables(reachable_networks=())

    ending = tell(
        "mailto://ann:pw@localhost:2525/?from=ann@example.org&to=bob@example.org&smtp=127.0.0.1&mode=insecure"
    )

    assert (ending.how, ending.kind) == (How.PERMANENT, "address_refused")


def test_no_program_is_started_and_others_are_not_hindered():
    with notifier._watching(), pytest.raises(PermissionError):
        subprocess.Popen([sys.executable, "-c", ""])

    subprocess.run([sys.executable, "-c", ""], check=True)


def test_what_apprise_does_not_know_is_permanent():
    assert tell("nonsense://x").how is How.PERMANENT
