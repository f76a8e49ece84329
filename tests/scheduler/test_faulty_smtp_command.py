"""The fault kit's command line, as a process of its own; and that it needs nothing but the standard library."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from scheduler.embedded import faulty_smtp
from scheduler.embedded.faulty_smtp.__main__ import main

ROOT = Path(__file__).parents[2]
MODULE = "scheduler.embedded.faulty_smtp"
PATIENCE = 60.0
MESSAGE = b"Subject: Hello\r\nX-Invoice: 4711\r\n\r\nPlease pay.\r\n"


class Server:
    def __init__(self, process):
        self.process = process
        self.greeting = process.stdout.readline()
        found = re.match(r"Listening on ([\d.]+) port (\d+), seed (\d+); Ctrl-C ends it\n", self.greeting)
        assert found, self.greeting
        self.address, self.seed = (found[1], int(found[2])), int(found[3])

    def end(self, number=signal.SIGTERM):
        """Its exit status and what it has said since the greeting."""
        self.process.send_signal(number)
        said, complaints = self.process.communicate(timeout=PATIENCE)
        assert complaints == ""
        return self.process.returncode, said


@contextmanager
def running(*arguments, cwd=ROOT, module=MODULE, options=("-W", "error"), env=None):
    command = [sys.executable, *options, "-m", module, "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield Server(process)
        finally:
            process.kill()


def send(server, to="ann@example.org"):
    """The code of the answer to the dot, or "closed"."""
    with smtplib.SMTP(*server.address, timeout=PATIENCE) as client:
        try:
            client.sendmail("shop@example.org", [to], MESSAGE)
        except smtplib.SMTPServerDisconnected:
            return "closed"
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients[to][0]
    return 250


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well_with_one_line_about_its_book(number):
    with running("--faults", "dot=throw-away-and-250 2.0.0 OK") as server:
        assert [send(server), send(server, "silent@example.org"), send(server, "refuse@example.org")] == [
            *(250, "closed"),
            550,
        ]

        assert server.end(number) == (
            0,
            "3 connections, 2 mails heard: 1 kept, 1 thrown away; 1 answered, 1 not; 0 bodies without their dot\n",
        )


def test_faults_come_by_chance_and_the_same_seed_brings_the_same_ones():
    def outcomes(*arguments):
        with running("--faults", "dot=accept-then-drop@0.3", "--faults", "rcpt=451 4.2.1 Later@0.3", *arguments) as s:
            return [send(s) for _ in range(20)], s.seed

    first, seed = outcomes()
    again, _ = outcomes("--seed", str(seed))

    assert first == again
    assert set(first) <= {250, 451, "closed"}


def test_the_book_is_a_file_of_json_lines(tmp_path):
    book = tmp_path / "mails.jsonl"
    with running("--book", book) as server:
        send(server)
        send(server, "silent@example.org")
        with smtplib.SMTP(*server.address, timeout=PATIENCE) as client:
            client.mail("shop@example.org")
            client.rcpt("ann@example.org")
            client.docmd("DATA")
            client.send(b"Subject: Hel")
            client.close()
        status, _ = server.end()

    lines = [json.loads(line) for line in book.read_text().splitlines()]
    assert status == 0
    assert [line["event"] for line in lines if line["event"] != "unfinished"] == ["dot", "answer", "dot"]
    assert without_time(lines[0]) == {
        "event": "dot",
        "number": 1,
        "connection": 1,
        "sender": "shop@example.org",
        "recipients": ["ann@example.org"],
        "kept": True,
        "size": len(MESSAGE),
        "headers": {"Subject": "Hello", "X-Invoice": "4711"},
    }
    assert without_time(lines[1]) == {"event": "answer", "number": 1, "answer": "250 2.0.0 Queued as 1"}
    assert lines[2]["kept"] is True


def without_time(line):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line.pop("at"))
    return line


@pytest.mark.parametrize("how", ["--tls", "--starttls"])
def test_it_speaks_tls_and_asks_for_a_password(tmp_path, how):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    files = ("--cert", tmp_path / "server.pem", "--key", tmp_path / "server.key")

    with running(how, *files, "--user", "shop:secret", "--no-pipelining") as server:
        if how == "--tls":
            client = smtplib.SMTP_SSL(*server.address, context=trusting, timeout=PATIENCE)
        else:
            client = smtplib.SMTP(*server.address, timeout=PATIENCE)
            client.starttls(context=trusting)
        with client:
            client.login("shop", "secret")
            client.sendmail("shop@example.org", ["ann@example.org"], MESSAGE)
            assert not client.has_extn("PIPELINING")

        assert server.end()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "smtp"], "argument --port: 'smtp' is no port; use a number from 0 to 65535"),
        (["--port", "65536"], "argument --port: '65536' is no port"),
        (["--faults", "rctp=drop"], "argument --faults: 'rctp' is no phase; use one of banner"),
        (["--faults", "rcpt=drop@7"], "argument --faults: @7 is no probability; write a number from 0 to 1"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--user", "shop"], "argument --user: 'shop' is no user; write NAME:PASSWORD"),
        (["--tls"], "argument --tls: wants --cert FILE and --key FILE"),
        (["--starttls", "--cert", "x"], "argument --starttls: wants --cert FILE and --key FILE"),
        (["--tls", "--starttls"], "argument --starttls: not allowed with --tls"),
        (["--tls", "--cert", "no.pem", "--key", "no.key"], "argument --cert/--key: cannot be used"),
        (["--book", "no/such/folder/book"], "argument --book: no/such/folder/book cannot be written (No such file"),
    ],
)
def test_arguments_that_cannot_be_served_are_refused_by_name(tmp_path, capsys, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refused:
        main(arguments)

    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused_with_the_remedy():
    with running() as server:
        taken = str(server.address[1])
        done = subprocess.run(
            [sys.executable, "-m", MODULE, "--port", taken], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )

    assert done.returncode == 2
    assert f"argument --port: cannot listen on 127.0.0.1 port {taken}" in done.stderr
    assert "or 0 for any that is free" in done.stderr


def test_the_folder_alone_is_enough(tmp_path):
    """Copied elsewhere, without site-packages and without this repository."""
    shutil.copytree(Path(faulty_smtp.__file__).parent, tmp_path / "kit", ignore=shutil.ignore_patterns("__pycache__"))

    with running(cwd=tmp_path, module="kit", options=("-S", "-W", "error")) as server:
        assert send(server) == 250
        assert server.end()[0] == 0
    assert "PYTHONPATH" not in os.environ
