"""`manage.py run_local`: refuses in one line, runs the whole house, and leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from scheduler.embedded import local_ground
from scheduler.embedded.child import CannotStart, Child, free_port, wait_for
from scheduler.embedded.guardian import is_running
from scheduler.embedded.local_ground import (
    Asked,
    check_ports,
    check_space,
    kept_secret,
    remove_env,
    take_folder,
    write_env,
)
from scheduler.embedded.local_stack import ending, last_words

ROOT = Path(__file__).parents[2]
ASKED = Asked(ports={"PORT": 8000, "SMTP_PORT": 1025, "METRICS_PORT": 9091})
OF_THE_TESTS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_SIGNING_KEY", "EMAIL_PROVIDERS")


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def listener():
    """Makes servers of another program; gives their ports."""
    with ExitStack() as sockets:

        def listen():
            other = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
            return other.getsockname()[1]

        yield listen


def offered(refusal):
    """The remedy's variables, as make would read them."""
    command = shlex.split(str(refusal.value).partition("make run ")[2])
    return dict(word.split("=", 1) for word in command)


def ports_asked(port, smtp_port, metrics_port, **others):
    return Asked(ports={"PORT": port, "SMTP_PORT": smtp_port, "METRICS_PORT": metrics_port}, others=others)


def test_every_port_that_is_taken_is_named_in_one_line_with_one_command_that_works(listener):
    taken, free, also_taken = listener(), free_port(), listener()

    with pytest.raises(CannotStart, match=rf"Ports {taken} \(PORT\) and {also_taken} \(METRICS_PORT\)") as refusal:
        check_ports(ports_asked(taken, free, also_taken, DATA="my data", WORKERS="3"))

    assert "\n" not in str(refusal.value)
    remedy = offered(refusal)
    assert list(remedy) == ["PORT", "SMTP_PORT", "METRICS_PORT", "DATA", "WORKERS"]
    assert (remedy["SMTP_PORT"], remedy["DATA"], remedy["WORKERS"]) == (str(free), "my data", "3")
    check_ports(ports_asked(*(int(remedy[name]) for name in ("PORT", "SMTP_PORT", "METRICS_PORT"))))


def test_neighbouring_ports_that_are_taken_are_not_offered_the_same_free_one(monkeypatch):
    taken = (8000, 8001, 8002)
    monkeypatch.setattr(local_ground, "_binding_trouble", lambda port: errno.EADDRINUSE if port in taken else None)
    monkeypatch.setattr(local_ground, "is_port_free", lambda port: port in (8020, 8021, 8022))

    with pytest.raises(CannotStart) as refusal:
        check_ports(ports_asked(*taken))

    assert sorted(offered(refusal).values()) == ["8020", "8021", "8022"]


def test_two_options_with_the_same_port_are_refused_with_one_of_them_moved():
    port, other = free_port(), free_port()

    with pytest.raises(CannotStart, match=rf"^PORT and METRICS_PORT are both {port}; each needs its own") as refusal:
        check_ports(ports_asked(port, other, port))

    remedy = offered(refusal)
    assert (remedy["PORT"], remedy["SMTP_PORT"]) == (str(port), str(other))
    assert remedy["METRICS_PORT"] not in (str(port), str(other))


def test_a_port_that_only_root_may_have_is_told_so(monkeypatch):
    monkeypatch.setattr(local_ground, "_binding_trouble", lambda port: errno.EACCES if port < 1024 else None)

    with pytest.raises(CannotStart, match=r"^PORT=80 needs root; take one above 1023\. Remedy") as refusal:
        check_ports(ports_asked(80, free_port(), free_port()))

    assert int(offered(refusal)["PORT"]) > 1023


def test_a_folder_that_another_run_uses_is_refused_with_a_folder_and_ports_that_are_free(tmp_path, listener):
    wanted = ports_asked(listener(), free_port(), free_port(), DATA=str(tmp_path / "data"), WORKERS="2")
    with (
        take_folder(tmp_path / "data", wanted),
        take_folder(tmp_path / "data2", wanted),
        pytest.raises(CannotStart, match=rf"process {os.getpid()}.*make run PORT=") as refusal,
    ):
        take_folder(tmp_path / "data", wanted)

    remedy = offered(refusal)
    assert (remedy["DATA"], remedy["WORKERS"]) == (str(tmp_path / "data3"), "2")
    again = ports_asked(*(int(remedy[name]) for name in ("PORT", "SMTP_PORT", "METRICS_PORT")))
    check_ports(again)
    take_folder(Path(remedy["DATA"]), again).close()


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_a_run_without_workers_is_refused_by_the_option_parser(workers):
    with pytest.raises(CommandError, match=rf"argument --workers: '{workers}' is no number of worker processes"):
        call_command("run_local", f"--workers={workers}")


def test_a_folder_can_be_taken_again_after_its_run_ended(tmp_path):
    take_folder(tmp_path, ASKED).close()

    take_folder(tmp_path, ASKED).close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(CannotStart, match="cannot be written"):
        take_folder(tmp_path / "file" / "folder", ASKED)


def test_a_full_disk_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(local_ground.shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))

    with pytest.raises(CannotStart, match="95 MB are free"):
        check_space(tmp_path)


def test_a_secret_is_made_once_and_readable_by_its_user_only(tmp_path):
    secret = kept_secret(tmp_path, "secret_key")

    assert kept_secret(tmp_path, "secret_key") == secret
    assert len(secret) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_what_other_commands_need_is_kept_for_this_user_only_and_survives_a_shell(tmp_path):
    env = {"DATABASE_URL": "postgres://u:it's $HOME@h/db", "SECRET_KEY_FILE": "/run/secret", "HOME": "/root"}

    write_env(tmp_path, env)

    command = ["sh", "-c", 'set -a; . "$0/env"; env', tmp_path]
    shell = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    read = shell.stdout.splitlines()
    assert "DATABASE_URL=postgres://u:it's $HOME@h/db" in read
    assert "SECRET_KEY_FILE=/run/secret" in read
    assert not [line for line in read if line.startswith("HOME=")]
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o600
    remove_env(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ── Parts that die ────────────────────────────────────────────────────────────────────────────


def dead_child(tmp_path, *lines):
    child = Child("part", ["printf", r"%s\n", *lines], log=tmp_path / "part.log")
    child.start()
    assert wait_for(lambda: not child.is_running, within=10)
    return child


def test_of_a_dead_part_only_the_lines_that_warn_are_shown(tmp_path):
    quiet = [f'{{"level": "info", "event": "{number}"}}' for number in range(50)]
    loud = ['{"event": "lost", "level": "error"}', "[2026-11-22] [7] [ERROR] port", "1:M 22 Nov 2026 # Failed"]

    shown = last_words(dead_child(tmp_path, *loud, *quiet))

    assert [line.strip() for line in shown.splitlines()] == loud


def test_of_a_part_that_died_without_a_warning_the_last_five_lines_are_shown_and_none_is_endless(tmp_path):
    shown = last_words(dead_child(tmp_path, *map(str, range(50)), "x" * 5000)).splitlines()

    assert [line.strip() for line in shown[:-1]] == ["46", "47", "48", "49"]
    assert len(shown[-1]) < 300


def test_how_a_part_ended_is_told_in_words(tmp_path):
    child = Child("part", ["sleep", "60"], log=tmp_path / "part.log")
    child.start()
    child.kill()

    assert ending(child) == "killed by signal 9"
    assert ending(dead_child(tmp_path)) == "exit status 0"


# ── make audit ────────────────────────────────────────────────────────────────────────────────


def make_audit(data, *more):
    in_venv = f"IN_VENV={sys.executable} -m"
    env = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS}
    command = ["make", "--no-print-directory", "audit", f"DATA={data}", in_venv, *more]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_make_audit_says_in_one_line_that_nothing_runs_there(tmp_path):
    audit = make_audit(tmp_path)

    assert audit.returncode != 0
    assert audit.stdout == ""
    assert audit.stderr.splitlines()[0] == (
        f"No local Sendonce runs in {tmp_path}; start it with make run DATA='{tmp_path}'"
    )
    assert "Traceback" not in audit.stderr


def test_make_audit_is_not_fooled_by_what_a_killed_run_left(tmp_path):
    write_env(tmp_path, {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"})
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "lock").write_text(str(gone.pid))

    assert "No local Sendonce runs in" in make_audit(tmp_path).stderr


# ── The whole house ───────────────────────────────────────────────────────────────────────────


class LocalTerminal:
    """`run_local` at a terminal of its own, as a person sees it."""

    def __init__(self, data: Path, *more: str) -> None:
        self.port = free_port()
        ports = (self.port, free_port(), free_port())
        names = ("--port", "--smtp-port", "--metrics-port")
        options = [part for name, port in zip(names, ports, strict=True) for part in (name, str(port))]
        command = [sys.executable, "-m", "scheduler.embedded.foreground", "manage.py", "run_local"]
        env = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS} | {"DEBUG": "true"}
        self.text = ""
        self.status: int | None = None
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [*command, *options, "--data", str(data), *more], env)
        os.set_blocking(self._terminal, False)

    def shows(self, words: str) -> bool:
        self._read()
        return words in self.text

    def press_ctrl_c(self) -> None:
        os.write(self._terminal, b"\x03")

    def has_ended(self) -> bool:
        self._read()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def _read(self) -> None:
        try:
            while chunk := os.read(self._terminal, 65536):
                self.text += chunk.decode(errors="replace")
        except OSError:
            pass


def processes_of(data: Path) -> list[int]:
    """Those whose command line, environment or working folder names the folder."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            told = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes() + bytes((proc / "cwd").readlink())
        except OSError:
            continue
        if str(data).encode() in told and is_running(int(proc.name)):
            found.append(int(proc.name))
    return found


@pytest.fixture
def terminal(tmp_path):
    started = []

    def open_terminal(*more):
        started.append(LocalTerminal(tmp_path, *more))
        return started[-1]

    yield open_terminal
    for each in started:
        if not each.has_ended():
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)
    assert wait_for(lambda: not processes_of(tmp_path), within=30)


@pytest.mark.slow
def test_the_first_email_arrives_and_ctrl_c_leaves_nothing(terminal, tmp_path):
    local = terminal()

    assert wait_for(lambda: local.shows("Running until Ctrl-C") or local.has_ended(), within=90), local.text
    assert local.shows("completed"), local.text
    assert local.shows(f"http://127.0.0.1:{local.port}/inbox/"), local.text
    assert len(list((tmp_path / "inbox").glob("*.eml"))) == 1
    assert local.shows("Try: refuse@example.org → dead letter"), local.text
    assert len(processes_of(tmp_path)) >= 5

    audit = make_audit(tmp_path, "ARGS=--json")
    assert audit.returncode == 0, audit.stderr
    told = json.loads(audit.stdout)
    assert (told["balanced"], told["accepted"], told["counts"]["completed"]) == (True, 1, 1)

    local.press_ctrl_c()

    assert wait_for(local.has_ended, within=40), local.text
    assert local.status == 0, local.text
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "env").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing_either(terminal, tmp_path):
    local = terminal("--no-demo")
    assert wait_for(lambda: local.shows("Running until Ctrl-C"), within=90), local.text

    local.press_ctrl_c()
    assert wait_for(lambda: local.shows("Stopping"), within=5)
    started = len(local.text)
    wait_for(lambda: local.has_ended() or len(local.text) > started + 1000, within=0.6)
    if not local.has_ended():
        local.press_ctrl_c()

    assert wait_for(local.has_ended, within=10), local.text
    assert local.status == 0
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_and_the_next_one_starts(terminal, tmp_path):
    local = terminal("--no-demo")
    assert wait_for(lambda: local.shows("Running until Ctrl-C"), within=90), local.text

    os.kill(int((tmp_path / "lock").read_text()), signal.SIGKILL)
    assert wait_for(local.has_ended, within=10)
    again = terminal("--no-demo")

    assert wait_for(lambda: again.shows("Running until Ctrl-C"), within=90), again.text
    again.press_ctrl_c()
    assert wait_for(again.has_ended, within=40)
    assert again.status == 0


@pytest.mark.slow
def test_when_a_part_dies_its_last_words_are_shown_and_the_rest_stops(terminal, tmp_path):
    local = terminal("--no-demo")
    assert wait_for(lambda: local.shows("Running until Ctrl-C"), within=90), local.text
    [server] = [pid for pid in processes_of(tmp_path) if b"valkey-server" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    os.kill(server, signal.SIGKILL)

    assert wait_for(local.has_ended, within=40), local.text
    assert local.status == 1
    assert "Valkey ended" in local.text
    assert processes_of(tmp_path) == []


def leader_of(data: Path, command: bytes) -> int:
    """The process that the run started for this command, not those which that one started."""
    found = [pid for pid in processes_of(data) if command in Path(f"/proc/{pid}/cmdline").read_bytes()]
    [leader] = [pid for pid in found if os.getsid(pid) == pid]
    return leader


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), [("worker", b"run_worker"), ("scheduler", b"run_scheduler")])
def test_a_part_that_is_killed_is_started_again_and_one_that_ends_by_itself_at_once_stops_the_rest(
    terminal, tmp_path, name, command
):
    local = terminal("--no-demo")
    assert wait_for(lambda: local.shows("Running until Ctrl-C"), within=90), local.text
    killed = leader_of(tmp_path, command)

    os.kill(killed, signal.SIGKILL)

    assert wait_for(lambda: local.shows(f"{name} died (killed by signal 9); started again"), within=10), local.text
    again = leader_of(tmp_path, command)
    assert again != killed
    assert not local.has_ended()

    os.kill(again, signal.SIGTERM)

    assert wait_for(local.has_ended, within=40), local.text
    assert local.status == 1
    assert f"{name} ended (" in local.text
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_without_a_terminal_sigterm_stops_everything(tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS} | {"DEBUG": "true"}
    options = [f"--port={free_port()}", f"--smtp-port={free_port()}", f"--metrics-port={free_port()}", "--no-demo"]
    command = [sys.executable, "manage.py", "run_local", f"--data={tmp_path}", *options]
    run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    seen = ""
    for line in run.stdout:
        seen += line
        if "Running until Ctrl-C" in line:
            break

    run.send_signal(signal.SIGTERM)
    rest, _ = run.communicate(timeout=40)

    assert run.returncode == 0, seen + rest
    assert "\x1b" not in seen + rest
    assert processes_of(tmp_path) == []
