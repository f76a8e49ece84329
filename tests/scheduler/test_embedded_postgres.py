"""The embedded PostgreSQL survives what a laptop does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from scheduler.embedded.child import CannotStart, wait_for
from scheduler.embedded.guardian import is_running
from scheduler.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.slow

KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from scheduler.embedded.postgres import EmbeddedPostgres
from scheduler.embedded.redis import EmbeddedRedis
postgres, redis = EmbeddedPostgres(Path(sys.argv[1]), durable=False), EmbeddedRedis(Path(sys.argv[2]))
postgres.start(), redis.start()
sys.stdout.write(f"{postgres.pid} {redis.child.pid}")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A stopped cluster; making one takes a second."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    server.stop()
    return server


@pytest.fixture
def postgres(made):
    made.start()
    yield made
    made.stop()


def test_what_was_committed_survives_a_kill_9(postgres):
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    postgres.kill()
    postgres.start()

    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("immediate", [False, True])
def test_a_restart_keeps_port_and_password(postgres, immediate):
    url, pid = postgres.url(), postgres.pid

    postgres.restart(immediate=immediate)

    assert postgres.pid != pid
    assert postgres.url() == url
    psycopg.connect(url).close()


def test_it_counts_in_utf8_and_utc_and_nobody_enters_without_the_password(postgres):
    with psycopg.connect(postgres.url()) as connection:
        shown = [connection.execute(f"SHOW {name}").fetchone()[0] for name in ("server_encoding", "timezone")]

    assert shown == ["UTF8", "UTC"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url().replace("postgres:", "postgres:wrong", 1).replace("wrong//", "//wrong", 1))


def test_a_database_is_created_once(postgres):
    postgres.create_database("sendonce")
    postgres.create_database("sendonce")

    psycopg.connect(postgres.url("sendonce")).close()


def test_stop_leaves_no_process(postgres):
    pid = postgres.pid

    postgres.stop()

    assert not is_running(pid)


def test_a_folder_in_use_is_refused_and_its_server_goes_on(postgres):
    with pytest.raises(CannotStart, match="in use by another run"):
        EmbeddedPostgres(postgres.folder).start()

    psycopg.connect(postgres.url()).close()


def test_a_pid_file_whose_number_belongs_to_someone_else_does_not_stop_a_start(made):
    bystander = subprocess.Popen(["sleep", "60"])
    (made.folder / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n{made.folder / 'data'}\n")
    try:
        made.start()
        made.stop()

        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_data_of_another_major_version_is_refused_with_a_remedy(made):
    version = made.folder / "data" / "PG_VERSION"
    version.write_text("15\n")
    try:
        with pytest.raises(CannotStart, match=r"PostgreSQL 15.*Remedy"):
            made.start()
    finally:
        version.write_text("18\n")


def test_the_server_of_a_killed_run_is_ended_by_the_next_start(made):
    made.start()
    orphan = made.pid
    made._release_folder()  # as the kernel does for a process that was killed together with its guardian

    again = EmbeddedPostgres(made.folder, durable=False)
    again.start()

    assert not is_running(orphan)
    again.stop()
    made.stop()


def test_a_parent_that_is_killed_leaves_no_server_behind(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, tmp_path / "postgres", tmp_path / "valkey"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "."},
        check=False,
    )

    assert run.returncode == -signal.SIGKILL, run.stderr
    pids = [int(pid) for pid in run.stdout.split()]
    assert len(pids) == 2
    assert wait_for(lambda: not any(map(is_running, pids)), within=15)
