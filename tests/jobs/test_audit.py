"""The audit: a healthy book passes, and every way in which it could lie is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from jobs import resolutions, transitions
from jobs.audit import CHECKS, PREFIX, Finding, audit, read_books
from jobs.claims import Claim
from jobs.states import Decision, Outcome
from tests.jobs.transitions.beside import others
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    a_job,
    ago,
    an_owner,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gate,
    gated,
    held,
    letter,
    marked,
    rescue,
    sent,
    sent_again,
    set_job,
    settle,
    sql,
    unknown,
)

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.django_db


def violations() -> dict[str, Finding]:
    return {finding.name: finding for finding in audit() if not finding.is_ok}


def without(constraint: str, table: str = "jobs_job") -> None:
    """PostgreSQL refuses what some checks look for; for one transaction it looks away."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")


# ── A healthy book ────────────────────────────────────────────────────────────────────────────


def a_full_book() -> None:
    """One of everything that the moves can leave behind."""
    a_job()
    a_job(delay_seconds=60.0)
    transitions.cancel(a_job(), owner_id=facts(a_job()).job.owner_id)
    transitions.claim([a_job(expires_at=ago(1))], worker=OTHER_WORKER)
    claimed()
    gated()
    marked()
    sent(key="sent")
    gate(claimed(key="sent"))
    failed()
    dropped(key="dropped")
    held(behind=unknown(key="unknown"))
    transitions.claim([held(behind=sent_first()).job_id], worker=OTHER_WORKER)
    decide(unknown(), Decision.MARK_SENT)
    settle(dropped(), Outcome.SENT)
    again = sent_again()
    sent(claimed(again.job_id))
    settle(again, Outcome.SENT)  # accepted twice, by somebody's decision
    late = sent_again()
    claimed(late.job_id)
    settle(late, Outcome.SENT)  # its gate has yet to find it
    rescued = marked(worker=OTHER_WORKER)
    rescue(OTHER_WORKER)
    settle(rescued, Outcome.PERMANENT)
    resolutions.requeue(letter(failed(), "permanent"), by=None)
    resolutions.discard(letter(failed(), "permanent"), by=None)
    sent(claimed(overridden("overridden")))
    overridden("waits to be sent once more")


def sent_first() -> Claim:
    return unknown(key="held and woken")


def test_a_healthy_book_balances():
    a_full_book()

    assert violations() == {}


def test_an_empty_book_balances():
    assert violations() == {}
    assert read_books().accepted == 0


def test_everything_accepted_stands_somewhere():
    a_full_book()
    (accepted,) = sql("SELECT count(*) FROM jobs_job")[0]

    books = read_books()

    assert books.is_balanced
    assert books.accepted == accepted == sum(books.counts.values())
    assert all(books.counts[status] > 0 for status in ("completed", "failed", "unknown", "cancelled", "expired"))


def test_a_held_job_that_was_not_woken_yet_is_no_violation():
    first = unknown(key="k")
    held(behind=first)
    decide(first, Decision.MARK_SENT)

    assert violations() == {}


# ── Each violation ────────────────────────────────────────────────────────────────────────────


def unknown_status() -> UUID:
    job_id = a_job()
    without("job_status_known")
    set_job(job_id, status="lost")
    return job_id


def final_times() -> UUID:
    claim = sent()
    without("job_final_has_its_time")
    set_job(claim, finished_at=None)
    return claim.job_id


def sent_without_job() -> UUID:
    claim = marked()
    sql("UPDATE jobs_delivery SET state = 'sent' WHERE job_id = %s", claim.job_id)
    return claim.job_id


def completed_without_sent() -> UUID:
    claim = sent()
    sql("UPDATE jobs_delivery SET state = 'released' WHERE job_id = %s", claim.job_id)
    return claim.job_id


def delivery_without_running_job() -> UUID:
    claim = gated()
    set_job(claim, status="scheduled")
    return claim.job_id


def delivery_without_unknown_job() -> UUID:
    first = unknown(key="k")
    set_job(first, held_behind=a_job())
    sql("UPDATE jobs_deadletter SET resolution = 'drop', resolved_at = now() WHERE job_id = %s", first.job_id)
    return first.job_id


def sent_twice() -> UUID:
    claim = sent()
    sql(
        "INSERT INTO jobs_attempt (job_id, claim, number, outcome, detail, ended_at) "
        "VALUES (%s, %s, 1, 'sent', '', now())",
        *(claim.job_id, claim.token + 1),
    )
    return claim.job_id


def overridden(key: str) -> UUID:
    """A job that was sent once more, although another of its key had been: the record names who and why."""
    dead, other = failed(key=key), sent(key=key)
    assert other.dedupe_hash == dead.dedupe_hash
    resolutions.requeue(letter(dead, "permanent"), by=an_owner("eve").pk, note="She asked for it.", override=True)
    return dead.job_id


def key_left() -> UUID:
    """Two jobs of one key that would both be sent, and nobody allowed it."""
    job_id = a_job(key="left")
    set_job(a_job(key="left"), dedupe_hash=b"0" * 16)
    return job_id


def override_unnamed() -> UUID:
    job_id = overridden("unnamed")
    sql("UPDATE jobs_deadletter SET note = '' WHERE job_id = %s", job_id)
    return job_id


def unknown_undecidable() -> UUID:
    claim = unknown()
    sql("UPDATE jobs_deadletter SET resolution = 'late_reply', resolved_at = now() WHERE job_id = %s", claim.job_id)
    return claim.job_id


def held_behind_itself() -> UUID:
    claim = held(behind=unknown(key="k"))
    set_job(claim, held_behind=claim.job_id)
    return claim.job_id


def failed_without_letter() -> UUID:
    claim = failed()
    sql("DELETE FROM jobs_deadletter WHERE job_id = %s", claim.job_id)
    return claim.job_id


def stale_letters() -> int:
    claim = failed()
    set_job(claim, status="queued", finished_at=None, pushed_at=ago(1))
    return letter(claim, "permanent")


def unpushed() -> UUID:
    job_id = a_job()
    set_job(job_id, pushed_at=None)
    return job_id


VIOLATIONS: list[Callable[[], object]] = [
    unknown_status,
    final_times,
    sent_without_job,
    completed_without_sent,
    delivery_without_running_job,
    delivery_without_unknown_job,
    sent_twice,
    key_left,
    override_unnamed,
    unknown_undecidable,
    held_behind_itself,
    failed_without_letter,
    stale_letters,
    unpushed,
]


ROWS = {"key_left": 2}  # which of the two left its key cannot be seen


@pytest.mark.parametrize("violate", VIOLATIONS, ids=lambda violate: violate.__name__)
def test_a_violation_is_found_and_named_with_its_row_and_nothing_else_is(violate):
    a_full_book()
    row = violate()

    found = violations()

    (finding,) = found.values()
    assert finding.name == violate.__name__
    assert str(row) in finding.examples
    assert finding.count == len(finding.examples) == ROWS.get(violate.__name__, 1)


def test_every_check_has_a_violation_that_it_finds():
    assert {violate.__name__ for violate in VIOLATIONS} == {name.removeprefix(PREFIX) for name in CHECKS}


def test_two_jobs_of_one_key_that_were_both_accepted_are_found():
    """The duplicate that a client would see: not one job twice, but two jobs once each."""
    first, second = sent(key="k"), claimed(key="k")
    gate(second)
    sql(
        "INSERT INTO jobs_attempt (job_id, claim, number, outcome, detail, ended_at) "
        "VALUES (%s, %s, 1, 'sent', '', now())",
        *(second.job_id, second.token),
    )

    found = violations()["sent_twice"]

    assert found.examples == sorted(str(c.job_id) for c in (first, second))


def test_an_override_is_a_permission_for_one_message_more_and_no_second_one():
    sent(claimed(overridden("k")))
    assert violations() == {}

    third = claimed(key="k")
    sql(
        "INSERT INTO jobs_attempt (job_id, claim, number, outcome, detail, ended_at) "
        "VALUES (%s, %s, 1, 'sent', '', now())",
        *(third.job_id, third.token),
    )

    assert violations()["sent_twice"].count == 3


def test_a_delivery_whose_job_is_gone_while_it_may_be_under_way_is_found():
    claim = marked()
    sql("DELETE FROM jobs_job WHERE id = %s", claim.job_id)

    assert violations()["delivery_without_running_job"].examples == [str(claim.job_id)]


def test_a_claim_that_another_claim_overtook_is_found():
    claim = gated()
    set_job(claim, claim=claim.token + 1)

    assert list(violations()) == ["delivery_without_running_job"]


def test_an_open_question_about_an_earlier_episode_is_found():
    first = sent_again()
    unknown(claimed(first.job_id))
    sql("UPDATE jobs_deadletter SET resolution = NULL, resolved_at = NULL WHERE claim = %s", first.token)

    assert violations()["stale_letters"].examples == [str(letter(first))]


def test_many_violations_are_counted_and_five_are_named():
    for _ in range(7):
        unpushed()

    found = violations()["unpushed"]

    assert (found.count, len(found.examples)) == (7, 5)


# ── One snapshot ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db(transaction=True)
def test_what_moves_while_the_audit_reads_is_no_violation(monkeypatch):
    """Counts, then checks: a job that moves in between would be missed in one and found in the other."""
    from jobs import audit as module

    claim = marked()
    run = module.run

    def run_while_others_work(name, **params):
        rows = run(name, **params)
        if name == module.STATUSES:
            with others(1) as them:
                them.do(settle, claim, Outcome.SENT)
                them.do(a_job)
        return rows

    monkeypatch.setattr(module, "run", run_while_others_work)

    books = read_books()

    assert books.is_balanced
    assert (books.accepted, books.counts["running"]) == (1, 1)
    assert facts(claim).job.status == "completed"


@pytest.mark.django_db(transaction=True)
def test_the_audit_leaves_the_connection_as_it_was():
    read_books()

    assert sql("SHOW transaction_isolation") == [("read committed",)]
    assert a_job()
    assert not connection.in_atomic_block


# ── The command ───────────────────────────────────────────────────────────────────────────────


def run_command(*options: str) -> str:
    out = StringIO()
    call_command("audit", *options, stdout=out)
    return out.getvalue()


def test_the_command_shows_where_everything_stands_and_that_it_balances():
    sent()
    a_job()

    lines = [line.split() for line in run_command().splitlines()]

    assert ["queued", "1"] in lines
    assert ["completed", "1"] in lines
    assert ["accepted", "2"] in lines
    assert ["sent_twice", "ok"] in lines


def test_the_command_fails_and_names_what_does_not_balance():
    row = unpushed()
    out = StringIO()

    with pytest.raises(CommandError) as error:
        call_command("audit", stdout=out)

    assert error.value.returncode == 1
    assert next(line for line in out.getvalue().splitlines() if line.startswith("unpushed ")).endswith(str(row))


def test_the_command_says_the_same_to_programs():
    row = unpushed()
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("audit", "--json", stdout=out)

    told = json.loads(out.getvalue())
    assert (told["balanced"], told["accepted"], told["counts"]["queued"]) == (False, 1, 1)
    assert {"name": "unpushed", "count": 1, "examples": [str(row)]} in told["findings"]


def test_without_postgresql_the_command_says_so_in_one_line():
    nowhere = os.environ | {"DATABASE_URL": "postgres://nobody:hidden@127.0.0.1:1/none"}

    audit = subprocess.run(
        [sys.executable, "manage.py", "audit"], cwd=ROOT, env=nowhere, capture_output=True, text=True, check=False
    )

    assert audit.returncode == 1
    assert audit.stdout == ""
    [line] = audit.stderr.splitlines()
    assert line.startswith("CommandError: PostgreSQL does not answer: ")
    assert "hidden" not in line
