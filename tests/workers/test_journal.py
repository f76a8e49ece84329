"""The journal: what was answered outlives its worker, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from jobs.claims import Claim
from jobs.settlements import Settlement
from jobs.states import Outcome
from workers import journal as module
from workers.journal import Journal, adopt, journals

WORKER = UUID(int=7)


def answer(token: int, outcome: Outcome = Outcome.SENT, **facts) -> Settlement:
    claim = Claim(
        job_id=uuid4(),
        token=token,
        dedupe_hash=bytes(range(16)),
        type="email",
        payload={},
        attempt=1,
        max_attempts=5,
        priority="default",
        provider="main",
        correlation_id="c-1",
        claimed_at=datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC),
    )
    return Settlement(claim=claim, outcome=outcome, worker=WORKER, detail="2.0.0 Jörg\nqueued it", **facts)


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def adopted(folder) -> list[Settlement]:
    found: list[Settlement] = []
    for path in journals(folder):
        adopt(path, found.extend)
    return found


def die(journal: Journal) -> None:
    """As a killed process does: the kernel closes its files, and nothing else happens."""
    journal._file.close()


def test_what_was_answered_and_not_settled_is_found_when_its_worker_is_dead(tmp_path):
    journal = Journal(tmp_path, WORKER)
    sent = answer(1, result={"reply": {"code": 250}, "accepted": ["ann@example.org"]})
    refused = answer(3, Outcome.TRANSIENT, code=451, wait_seconds=1.5)
    for each in (sent, answer(2), refused):
        journal.write(each)
    journal.strike([2, 99])
    journal.write(answer(4))

    die(journal)

    assert [a.claim.token for a in adopted(tmp_path)] == [1, 2, 3, 4], "what was struck out may come again, harmlessly"
    assert files(tmp_path) == []


def test_an_answer_comes_back_as_it_was_but_for_the_payload(tmp_path):
    journal, written = Journal(tmp_path, WORKER), answer(1, result={"reply": {"code": 250}})
    journal.write(replace(written, claim=replace(written.claim, payload={"subject": "secret"})))
    die(journal)

    assert b"secret" not in next(tmp_path.iterdir()).read_bytes()
    assert adopted(tmp_path) == [written]


def test_the_journal_of_a_living_worker_is_left_alone(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal.write(answer(1))

    assert adopted(tmp_path) == []
    assert files(tmp_path) == [f"{WORKER}.1.journal"]
    journal.close()


def test_once_all_is_settled_nothing_is_left(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal.write(answer(1))
    journal.strike([1])

    assert next(tmp_path.iterdir()).stat().st_size == 0
    journal.close()
    assert files(tmp_path) == []


def test_a_worker_that_ends_with_something_unsettled_leaves_it_behind(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal.write(answer(1))

    journal.close()

    assert [a.claim.token for a in adopted(tmp_path)] == [1]


def test_a_journal_that_grew_goes_on_in_a_new_file_with_what_is_open(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BYTES", 2000)
    journal = Journal(tmp_path, WORKER)
    for token in range(1, 31):
        journal.write(answer(token))
        journal.strike([token - 1] if token % 10 else [])

    assert next(tmp_path.iterdir()).stat().st_size < 6000
    assert len(files(tmp_path)) == 1
    die(journal)
    left = {a.claim.token for a in adopted(tmp_path)}
    assert left >= {9, 19, 29, 30}, "what is open goes along"
    assert 1 not in left


def test_what_could_not_be_settled_stays(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal.write(answer(1))
    die(journal)

    def away(answers):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        adopt(next(tmp_path.iterdir()), away)
    assert [a.claim.token for a in adopted(tmp_path)] == [1]


def test_a_line_that_was_torn_costs_only_itself(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal.write(answer(1))
    journal._file.write(b'{"claim": {"job_')
    die(journal)

    with capture_logs() as logs:
        assert [a.claim.token for a in adopted(tmp_path)] == [1]
    assert [line["event"] for line in logs] == ["journal_line_unreadable"]


def test_an_adopter_that_comes_between_creation_and_lock_takes_nothing_away(tmp_path, monkeypatch):
    lock, meddled = module._lock, []

    def meddle_once(file):
        if not meddled:
            meddled.append(file)
            adopted(tmp_path)
            assert files(tmp_path) == []
        return lock(file)

    monkeypatch.setattr(module, "_lock", meddle_once)
    journal = Journal(tmp_path, WORKER)
    monkeypatch.undo()
    journal.write(answer(1))
    die(journal)

    assert [a.claim.token for a in adopted(tmp_path)] == [1]


def test_a_folder_that_others_can_write_to_is_not_trusted_and_the_mail_goes_on(tmp_path):
    tmp_path.chmod(0o777)

    with capture_logs() as logs:
        journal = Journal(tmp_path, WORKER)
        journal.write(answer(1))
        journal.strike([1])
        journal.close()

    assert [line["event"] for line in logs] == ["journal_given_up"]
    assert files(tmp_path) == []


def test_nobody_else_can_read_it(tmp_path):
    journal = Journal(tmp_path / "a" / "b", WORKER)

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert next((tmp_path / "a" / "b").iterdir()).stat().st_mode & 0o777 == 0o600
    journal.close()


def test_a_full_disk_costs_the_journal_and_not_the_mail(tmp_path):
    journal = Journal(tmp_path, WORKER)
    journal._file.close()
    journal._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115, PTH123 - given up by the journal

    with capture_logs() as logs:
        journal.write(answer(1))
        journal.write(answer(2))
        journal.strike([1, 2])
        journal.close()

    assert [line["event"] for line in logs] == ["journal_given_up"]


def test_writers_and_strikers_do_not_disturb_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BYTES", 5000)
    journal = Journal(tmp_path, WORKER)
    kept = set(range(0, 400, 50))
    written = threading.Semaphore(0)

    def strike():
        for token in range(400):
            written.acquire()
            journal.strike([token] if token not in kept else [])

    striker = threading.Thread(target=strike)
    striker.start()
    for token in range(400):
        journal.write(answer(token))
        written.release()
    striker.join()
    die(journal)

    assert {a.claim.token for a in adopted(tmp_path)} >= kept


KILLED = """
import os, signal, sys
from pathlib import Path
import django
django.setup()
from tests.workers.test_journal import WORKER, answer
from workers.journal import Journal
Journal(Path(sys.argv[1]), WORKER).write(answer(1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_it_outlives_kill_9(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ, check=False)

    assert killed.returncode == -9
    assert [a.claim.token for a in adopted(tmp_path)] == [1]
