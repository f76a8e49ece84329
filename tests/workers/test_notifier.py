"""Notices, told by Apprise to real HTTP servers: what a no means, and where they may go."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import trustme

from tests.receiver import Receiver, receiver
from workers import notifier
from workers.notifier import Notice
from workers.tasks import Ending, How

NONSENSE = b"this is not TLS at all\r\n"
TOKEN = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True)
def conf(tunables):
    return tunables(reachable_networks=(ip_network("127.0.0.0/8"),))


@pytest.fixture
def side():
    with receiver() as side:
        yield side


@pytest.fixture
def broken_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Makes a server that says nonsense instead of TLS, at once or when it was asked, and tells its port."""
    context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with ExitStack() as stack:

        def make(*, after_request: bool) -> int:
            def talk() -> None:
                plain, _ = listener.accept()
                with plain, suppress(OSError):  # it hangs up first
                    if after_request:
                        spoken = context.wrap_socket(plain.dup(), server_side=True)
                        heard = b""
                        with spoken:
                            while b"silent" not in heard:
                                heard += (said := spoken.recv(65536))
                                assert said, "it hung up"
                            plain.sendall(NONSENSE)
                    else:
                        plain.sendall(NONSENSE)
                    plain.shutdown(socket.SHUT_WR)
                    while plain.recv(65536):
                        pass

            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            talking = threading.Thread(target=talk, daemon=True)
            talking.start()
            stack.callback(talking.join, 10)
            return int(listener.getsockname()[1])

        yield make


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
    side.answers = [(503, {"Retry-After": "1"}, b"")]

    ending = tell(json_url(side) + "?retry=3&wait=0")

    assert (ending.how, len(side.heard)) == (How.TRANSIENT, 1)


@pytest.mark.parametrize(
    ("status", "headers", "how", "after"),
    [
        (500, {}, How.UNDONE, None),
        (502, {}, How.UNDONE, None),
        (503, {}, How.UNDONE, None),
        (503, {"Retry-After": "9"}, How.TRANSIENT, 9.0),
        (429, {}, How.TRANSIENT, None),
        (401, {}, How.PERMANENT, None),
        (404, {}, How.PERMANENT, None),
    ],
)
def test_a_service_that_says_no_is_believed_but_what_stands_before_it_may_not_know(
    side: Receiver, status, headers, how, after
):
    side.answers = [(status, headers, b"no")]

    ending = tell(json_url(side))

    assert (ending.how, ending.code, ending.retry_after) == (how, status, after)
    assert ending.kind == f"http_{status // 100}xx"
    assert TOKEN not in ending.detail


def test_who_hangs_up_after_the_request_may_have_heard_it(side: Receiver):
    side.answers = [None]

    ending = tell(json_url(side))

    assert (ending.how, ending.kind, len(side.heard)) == (How.UNDONE, "unanswered", 1)


def test_a_connection_that_breaks_after_the_request_is_a_doubt_however_it_breaks(broken_tls):
    """requests tells it by the same name as a handshake that failed."""
    ending = tell(f"jsons://127.0.0.1:{broken_tls(after_request=True)}/")

    assert (ending.how, ending.kind) == (How.UNDONE, "unanswered")


def test_a_handshake_that_fails_is_none(broken_tls):
    ending = tell(f"jsons://127.0.0.1:{broken_tls(after_request=False)}/")

    assert (ending.how, ending.kind) == (How.TRANSIENT, "unreachable")


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


@pytest.mark.parametrize("first", [None, (502, {}, b"")])
@pytest.mark.parametrize("last", [(429, {}, b""), (404, {}, b"")])
def test_of_several_calls_one_that_may_have_been_heard_leaves_a_doubt(side: Receiver, first, last):
    side.answers = [first, last]
    host = side.url.removeprefix("http://")

    assert tell(f"matrix://{TOKEN}@{host}/#one/#two").how is How.UNDONE
    assert len(side.heard) >= 2


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
