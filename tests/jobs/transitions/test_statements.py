"""Every named statement keeps to its indexes, on an empty, a fresh and a huge table (DESIGN §5).

What is known of the planner here:

- The connection forces generic plans, so an array counts as ten elements, whatever its length, and a LIMIT as a
  tenth of what it limits. Hence `id = ANY(ARRAY(…))` instead of a join with a limited batch.
- Statistics are often from quieter times. A partial index of a status then looks as if it held one row, and reading
  all of it cheaper than ten look-ups by key: hence `status || '' = 'queued'` where the jobs are found by id.
- On an empty table a sequential scan is planned, and it costs nothing: there are no pages to read. It would do harm
  if that plan were kept while the table grows. Most statements are planned with every execution, for the number of
  pages that the table has by then, which is read from the file, not from statistics. Those of the hot path
  (`jobs.sql.KEPT`) are prepared, and their plans thrown away every few seconds (`PLANS_SECONDS`). The tests of a whole
  trip at the end prove it by PostgreSQL's own count of sequential scans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from jobs import acceptance, chores, inquiries, omissions, rescues, resolutions, suppressions, transitions
from jobs.claims import OwnKey
from jobs.sql import KEPT, STATEMENTS
from jobs.states import Decision, Outcome, Resolution, SuppressionReason
from tests.jobs.transitions.builders import (
    WORKER,
    a_job,
    ago,
    an_owner,
    claimed,
    failed,
    gate,
    gated,
    held,
    letter,
    marked,
    rescue,
    sent_again,
    set_job,
    settle,
    sql,
    unknown,
)

BIG = ("jobs_job", "jobs_delivery", "jobs_deadletter", "jobs_attempt", "jobs_event", "jobs_suppression")
ROWS = 20_000

# ── What each statement may read ──────────────────────────────────────────────────────────────

KEYS = {
    *("jobs_batch_pkey", "destination_name"),
    *("jobs_job_pkey", "jobs_delivery_pkey", "jobs_deadletter_pkey", "deadletter_once_per_episode"),
    *("jobs_schedule_pkey", "suppression_once", "event_once"),
}
BY_KEY = {  # the hot path, and people: rows are named, and found by their name
    *("insert_jobs", "claim", "gate", "gate_standing", "duplicate", "hold", "put_back_jobs", "release_claimed"),
    *("mark", "acquit", "take_mark_back", "unmark_deliveries", "unmark_jobs", "lock_jobs", "adoptable"),
    *("sent_deliveries", "sent_unmarked_deliveries", "sent_jobs", "refused_deliveries", "refused_jobs"),
    *("unanswered_deliveries", "unanswered_jobs", "close_dead_letters", "insert_dead_letters", "insert_attempts"),
    *("rescue_deliveries", "rescue_jobs", "destinations_of_jobs", "disable_destinations"),
    *("lock_jobs_of_dead_letters", "look_at_dead_letters", "requeue_jobs", "override_jobs"),
    *("decide_deliveries", "decide_jobs", "resolve_dead_letters", "note_evidence"),
    *("insert_schedule", "advance_schedule", "batch_told", "pause_schedule", "resume_schedule", "now"),
    *("insert_events", "insert_suppressions", "suppressed_recipients", "suppress_jobs"),
}
BY_INDEX = {  # found by state: each by the index that was made for it
    "cancel": {"job_of_owner"},
    "first_answers": {"job_idempotency_key"},
    "waiting_ids": {"job_waiting"},
    "count_waiting": {"job_waiting"},
    "promote": {"job_due"},
    "due_schedule": {"schedule_due"},
    "batch_to_tell": {"job_of_batch_under_way", "batch_untold"},
    "repush": {"job_waiting"},
    "wake_held": {"job_unknown"},
    "bury_held": {"job_unknown"},
    "policy_due": {"job_unknown"},
    "claim_inquiries": {"deadletter_open"},
    "witnessed_unknowns": {"deadletter_open", "attempt_of_job", "event_once"},
    "open_dead_letters": {"deadletter_open"},
    "lock_held_by_silent": {"job_running"},
    "lock_own_unknown": {"job_running"},
    "own_running": {"job_running"},
    "holding_workers": {"job_running"},
    "prune_workers": {"job_running"},
    "prune_bodies": {"job_finished"},
    "prune_keys": {"job_idempotency_window"},
    "prune_jobs": {"job_finished", "attempt_of_job", "event_once"},
}
BY_STATUS = {"job_of_owner_by_status"}  # a skip scan over a few owners: it reads what stands there and no more
LARGE_SHARE = {("policy_due", "a backlog")}  # a quarter of all jobs is unknown and is looked through
OTHERS = re.compile(
    "audit_.*|gauges|oldest_waiting|beat|leave"
)  # books and gauges may read whole tables; workers have a small one


# ── The tables, in the shapes that mislead a planner ──────────────────────────────────────────


def fill(status: str, state: str, *, rows: int = ROWS, start: int = 0) -> None:
    is_final = status in {"completed", "failed", "cancelled", "expired"}
    sql(
        """
        INSERT INTO jobs_job (id, owner_id, type, priority, status, accepted_as, payload, recipients, correlation_id,
            idempotency_key, idempotency_open, fingerprint, dedupe_hash, attempts, max_attempts, deaths, run_at,
            on_unknown, worker, claim, in_doubt, held_behind, pushed_at, created_at, updated_at, finished_at)
        SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, %s, 'email', 'default', %s, 'queued',
            '{}', '[]', 'c', i::text, true, '\\x00', decode(md5(i::text), 'hex'), 1, 5, 0, now() - i * interval '1 s',
            'resend', ('00000000-0000-4000-8000-' || lpad(to_hex(i %% 8), 12, '0'))::uuid, nextval('claims'), false,
            CASE WHEN %s = 'unknown' AND i %% 2 = 0 THEN '00000000-0000-7000-8000-000000000000'::uuid END,
            now() - i * interval '1 s', now() - i * interval '1 s', now(),
            CASE WHEN %s THEN now() - i * interval '1 s' END
        FROM generate_series(%s, %s) AS i
        """,
        *(an_owner().pk, status, status, is_final, start + 1, start + rows),
    )
    only = (
        "WHERE id > ('00000000-0000-7000-8000-' || lpad(to_hex(%s), 12, '0'))::uuid "
        "AND id < '00000000-0000-7001-8000-000000000000'"
    )
    sql(
        "INSERT INTO jobs_delivery (dedupe_hash, job_id, claim, state, claimed_at, dot_at) "
        f"SELECT dedupe_hash, id, claim, %s, now(), now() FROM jobs_job {only}",
        *(state, start),
    )
    sql(
        "INSERT INTO jobs_deadletter (job_id, owner_id, type, reason, claim, died_at, resolution, resolved_at) "
        "SELECT id, owner_id, 'email', 'unknown', claim, now(), CASE WHEN claim %% 50 > 0 THEN 'discarded' END, "
        f"CASE WHEN claim %% 50 > 0 THEN now() END FROM jobs_job {only}",
        start,
    )
    sql(
        "INSERT INTO jobs_suppression (owner_id, address, topic, reason, detail, created_at) "
        "SELECT owner_id, 'a' || right(id::text, 12) || '@example.org', '', 'hard_bounce', '', now() "
        f"FROM jobs_job {only} ON CONFLICT DO NOTHING",
        start,
    )
    sql(
        "INSERT INTO jobs_attempt (job_id, claim, number, outcome, detail, ended_at) "
        f"SELECT id, claim, 1, 'sent', '', now() FROM jobs_job {only}",
        start,
    )
    sql(
        "INSERT INTO jobs_event (job_id, owner_id, esp, event_id, kind, recipient, reason, detail, at, received_at) "
        f"SELECT id, owner_id, 'postmark', id::text, 'delivered', '', '', '', now(), now() FROM jobs_job {only}",
        start,
    )


def small() -> None:
    """A first quarter of an hour: few enough rows to read them all, and yet dearer than to look some up."""
    fill("running", "claimed", rows=1_000)


def analyze() -> None:
    sql(f"ANALYZE {', '.join(BIG)}")


LIVE = [("queued", "released"), ("scheduled", "released"), ("running", "claimed"), ("unknown", "unknown")]


def quiet() -> None:
    fill("completed", "sent")
    for number, (status, state) in enumerate(LIVE):
        fill(status, state, rows=100, start=ROWS + 100 * number)


def quiet_analyzed() -> None:
    quiet()
    analyze()


def burst() -> None:
    """The statistics say that everything is completed; then the whole table comes alive."""
    fill("completed", "sent", rows=ROWS // 2)
    analyze()
    for number, (status, state) in enumerate(LIVE):
        fill(status, state, rows=ROWS // 4, start=ROWS * (2 + number))


def backlog_analyzed() -> None:
    fill("completed", "sent", rows=ROWS // 4)
    for number, (status, state) in enumerate(LIVE):
        fill(status, state, rows=ROWS // 4, start=ROWS * (2 + number))
    analyze()


SHAPES = {
    "small": small,
    "fresh": quiet,
    "analyzed": quiet_analyzed,
    "a burst on old statistics": burst,
    "a backlog": backlog_analyzed,
}


# ── Their plans ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: Any) -> dict[str, dict[str, set[str]]]:
    """By shape and statement: what the plan reads of the big tables."""
    found: dict[str, dict[str, set[str]]] = {}
    with django_db_blocker.unblock():
        for shape, build in SHAPES.items():
            with transaction.atomic():
                sql(f"TRUNCATE {', '.join(BIG)} CASCADE")  # also: as if never analyzed
                build()
                found[shape] = {name: reads_of(name) for name in STATEMENTS}
                transaction.set_rollback(True)
        connection.close()
    return found


def reads_of(name: str) -> set[str]:
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    statement = re.sub(r"%\((\w+)\)s", number, STATEMENTS[name])
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + statement)
        plan = cursor.fetchone()[0]
    return set(_reads((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))


def _reads(node: dict[str, Any]) -> Iterator[str]:
    table, kind, index = node.get("Relation Name"), node["Node Type"], node.get("Index Name")
    if table in BIG and kind == "Seq Scan":
        yield f"all of {table}"
    if index and not index.startswith("jobs_worker"):
        is_whole = "Index Cond" not in node and index.endswith("_pkey")
        yield f"all of {index}" if is_whole else index
    for child in node.get("Plans", []):
        yield from _reads(child)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(BY_KEY))
def test_rows_that_are_named_are_found_by_their_keys(plans, name, shape):
    assert plans[shape][name] <= KEYS


@pytest.mark.slow
@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"small"}))  # reading all of a small table is right for a search
@pytest.mark.parametrize("name", sorted(BY_INDEX))
def test_rows_that_are_sought_by_their_state_are_found_by_the_index_made_for_it(plans, name, shape):
    reads = plans[shape][name]

    if (name, shape) in LARGE_SHARE:
        reads = reads - {"all of jobs_job"}
    if shape == "fresh":  # without any statistics a neighbouring index may look as good
        assert not [read for read in reads if read.startswith("all of")]
    else:
        assert reads <= BY_INDEX[name] | KEYS | BY_STATUS


def test_every_statement_has_its_place_here():
    unplaced = {name for name in STATEMENTS if not OTHERS.fullmatch(name)} - BY_KEY - set(BY_INDEX)

    assert unplaced == set()


# ── What PostgreSQL counts while jobs really move ─────────────────────────────────────────────


def scans() -> dict[str, int]:
    """Sequential scans in this transaction, by table."""
    rows = sql("SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)", list(BIG))
    return dict(rows)


def play_everything() -> None:
    """Every move of a trip, a rescue, the clock and a decision."""
    waiting = a_job(delay_seconds=60.0)
    set_job(waiting, run_at=ago(100_000))
    chores.promote(limit=1)
    set_job(a_job(), pushed_at=ago(100_000))
    chores.find_lost("default", head=[a_job()], grace_seconds=5, limit=1)
    transitions.claim_waiting(["default"], limit=1, worker=WORKER)
    for outcome in Outcome:
        if outcome is not Outcome.LOST:
            settle(marked(), outcome)
    settle(gated(), Outcome.SENT, marked=False)
    duplicate_key, doubtful_key = str(uuid4()), str(uuid4())
    settle(marked(key=duplicate_key), Outcome.SENT)
    gate(claimed(key=duplicate_key))
    held(behind=unknown(key=doubtful_key))
    leave_out_some()
    transitions.put_back([claimed()], wait_seconds=1)
    transitions.unmark([marked()], wait_seconds=1)
    transitions.take_mark_back([marked()])
    rescue(WORKER)
    transitions.cancel(a_job(), owner_id=an_owner().pk)
    acceptance.first_answers([OwnKey(an_owner().pk, "k")])
    rescues.own_running(WORKER)
    inquiries.claim_due("main", waits=(0.0, 30.0), patience_seconds=600.0, limit=5)
    decide_everything()


def leave_out_some() -> None:
    """Somebody of two, and the only one, of a job in doubt and of another."""
    suppressions.add(an_owner().pk, ["eve@example.org", f"{uuid4()}@example.org"], reason=SuppressionReason.MANUAL)
    doubtful = claimed(sent_again(recipients=["bob@example.org"]).job_id)
    claims = [
        claimed(recipients=["Eve@example.org"]),
        claimed(recipients=["ann@example.org", "eve@example.org"]),
        doubtful,
    ]
    suppressions.add(an_owner().pk, ["bob@example.org"], reason=SuppressionReason.MANUAL)
    standing = gate(*claims)
    assert standing.suppressed == {claim.token for claim in claims}
    found = omissions.leave_out(claims, wait_seconds=1.0)
    assert (len(found.admitted), len(found.ended)) == (1, 2)
    suppressions.remove(an_owner().pk, "bob@example.org")


def decide_everything() -> None:
    """Dead letters of all kinds: looked at, requeued (one of them by an override), discarded and resolved."""
    key = str(uuid4())
    claims = [failed(key=key), failed(), unknown()]
    settle(marked(key=key), Outcome.SENT)
    requeued = [letter(claim, "unknown" if claim is claims[-1] else "permanent") for claim in claims]
    decided = resolutions.decide(requeued, Resolution.REQUEUED, by=None, overrides=resolutions.OVERRIDABLE)
    assert decided.done == set(requeued)
    resolutions.discard(letter(failed(), "permanent"), by=None)
    resolutions.resolve(letter(unknown()), Decision.MARK_SENT, by=None)


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("unaudited")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.timeout(300)  # large tables, and a plan of every statement on them
def test_no_move_reads_a_table_from_end_to_end(shape):
    SHAPES[shape]()
    chores.wake_held(limit=5)
    before = scans()

    play_everything()

    assert scans() == before


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("unaudited")
def test_a_plan_made_for_an_empty_table_is_not_kept_while_it_fills(monkeypatch):
    """More runs than a cache waits for (five) while the tables hold next to nothing; then they are large."""
    sql(f"TRUNCATE {', '.join(BIG)} CASCADE")
    analyze()
    for _ in range(6):
        play_everything()
    quiet()
    monkeypatch.setattr("jobs.postgres.base.PLANS_SECONDS", 0.0)  # so much later
    play_everything()
    monkeypatch.undo()
    before = scans()

    play_everything()

    assert scans() == before


def test_plans_are_generic_and_those_of_the_hot_path_are_kept(committed):
    connection.close()

    assert sql("SHOW plan_cache_mode") == [("force_generic_plan",)]
    for claim in (marked(), unknown()):
        settle(claim, Outcome.SENT)
    settle(gated(), Outcome.SENT, marked=False)
    acceptance.first_answers([OwnKey(an_owner().pk, "k")])
    chores.promote(limit=1)
    kept = sql("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE generic_plans > 0")
    assert len(kept) == len(KEPT - {"beat"})
    assert {custom for _, custom in kept} == {0}


@pytest.mark.parametrize("move", [a_job, claimed, marked], ids=lambda move: move.__name__)
def test_a_table_that_changes_under_a_kept_plan_is_planned_for_anew(committed, move):
    move()
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as another:
        another.execute("SET lock_timeout = '10s'")
        another.execute("ALTER TABLE jobs_job ALTER COLUMN status TYPE varchar(20), ALTER COLUMN type TYPE varchar(99)")
        another.execute("ALTER TABLE jobs_delivery ALTER COLUMN claim TYPE numeric")
    try:
        assert move()
    finally:
        connection.close()
        sql("ALTER TABLE jobs_job ALTER COLUMN status TYPE text, ALTER COLUMN type TYPE text")
        sql("ALTER TABLE jobs_delivery ALTER COLUMN claim TYPE bigint")


def test_what_fails_at_its_first_try_is_not_left_prepared(committed):
    an_owner()
    connection.close()

    with pytest.raises(IntegrityError):
        a_job(owner_id=10**9)

    assert sql("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    assert a_job()
