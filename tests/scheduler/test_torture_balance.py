"""The judge can convict: each kind of sin, written into books that were in order, is found, and under its own name."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler.torture.balance import Ending, balance
from scheduler.torture.books import Books
from scheduler.torture.evidence import Answer, Attempt, Audit, Decision, Fall, Loss, Mail, Move, Refusal, Row, Step
from scheduler.torture.findings import Sin
from scheduler.torture.verdict import as_json, judge
from tests.scheduler.made_up_run import MadeUpRun, good_run


@pytest.fixture
def run() -> MadeUpRun:
    return good_run()


def sins(run: MadeUpRun) -> list[tuple[Sin, str]]:
    return [(finding.sin, finding.subject) for finding in judge(run.evidence).findings]


# ── What is right passes ──────────────────────────────────────────────────────────────────────


def test_books_in_order_pass_and_every_job_has_its_ending(run):
    balanced = balance(Books(run.evidence))

    assert sins(run) == []
    assert judge(run.evidence).has_passed
    assert balanced.endings == {
        Ending.SENT_ONCE: 1, Ending.SUPPRESSED: 1, Ending.DEAD: 1, Ending.UNKNOWN: 1, Ending.HELD: 1
    }  # fmt: skip
    assert (balanced.accepted, balanced.unheard, balanced.truly_ambiguous) == (5, 0, 1)


def test_the_evidence_reads_back_as_it_was_written(run, tmp_path):
    run.evidence.save(tmp_path / "evidence.json")

    assert type(run.evidence).load(tmp_path / "evidence.json") == run.evidence


# ── Duplicates ────────────────────────────────────────────────────────────────────────────────


def test_a_second_copy_of_one_job_is_a_duplicate(run):
    claim = run.row("sent").claim
    run.mark("sent", claim)
    run.dot("sent")

    assert (Sin.DUPLICATE, "sent") in sins(run)


def test_a_copy_of_its_twin_is_a_duplicate_though_each_job_has_one(run):
    run.mark("twin", 99)
    run.dot("twin")

    assert sins(run) == [(Sin.DUPLICATE, "twin")]


def test_an_unknown_that_was_sent_again_without_a_decision_is_a_duplicate(run):
    run.carry_out("unknown")

    assert (Sin.DUPLICATE, "unknown") in sins(run)


def test_a_copy_that_a_person_decided_on_is_none(run):
    run.evidence.decisions.append(Decision("unknown", "send_again"))
    run.carry_out("unknown")

    assert Sin.DUPLICATE not in dict(sins(run))


def test_what_the_server_threw_away_is_no_copy(run):
    run.accept("again")
    claim = run.claim("again")
    run.mark("again", claim)
    run.dot("again", kept=False, answer="451 4.3.0 Try again later")
    run.settle("again", "scheduled", "released", claim, "transient")
    run.carry_out("again")

    assert sins(run) == []


def test_jobs_without_any_key_are_each_for_themselves(run):
    run.send("one", group="", key=None)
    run.send("two", group="", key=None)

    assert sins(run) == []


# ── Lost ──────────────────────────────────────────────────────────────────────────────────────


def test_completed_without_a_copy_at_the_server_is_lost(run):
    run.evidence.mails = [mail for mail in run.evidence.mails if mail.job != "sent"]

    assert sins(run) == [(Sin.LOST, "sent"), (Sin.LOST, "twin")]  # the twin was suppressed for nothing


def test_completed_with_a_mail_that_was_thrown_away_is_lost(run):
    run.accept("gone")
    claim = run.claim("gone")
    run.mark("gone", claim)
    run.dot("gone", kept=False)
    run.settle("gone", "completed", "sent", claim, "sent")

    assert sins(run) == [(Sin.LOST, "gone")]


def test_a_row_that_is_gone_is_lost(run):
    run.evidence.rows = [row for row in run.evidence.rows if row.id != "dead"]

    assert sins(run) == [(Sin.LOST, "dead")]


def test_suppressed_beside_a_job_of_another_key_is_lost(run):
    run.send("stranger")
    run.change("twin", duplicate_of="stranger")

    assert sins(run) == [(Sin.LOST, "twin")]


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_an_ending_that_nobody_asked_for_is_lost(run, status):
    run.accept("dropped")
    run.move("dropped", status)

    assert sins(run) == [(Sin.LOST, "dropped")]


@pytest.mark.parametrize("status", ["scheduled", "queued", "running"])
def test_a_job_that_never_arrives_is_stuck(run, status):
    run.accept("slow")
    run.change("slow", status=status)

    assert sins(run) == [(Sin.STUCK, "slow")]


# ── What was sent ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", [{"is_whole": False}, {"recipient": "dead@x"}])
def test_a_mail_that_says_something_else_or_is_for_somebody_else_is_found(run, change):
    run.evidence.mails[0] = replace(run.evidence.mails[0], **change)

    assert sins(run) == [(Sin.MANGLED, "sent")]


# ── Falsely unknown ───────────────────────────────────────────────────────────────────────────


def test_held_without_a_mark_is_falsely_unknown(run):
    run.evidence.steps = [step for step in run.evidence.steps if (step.job, step.new) != ("unknown", "dot")]
    run.evidence.mails = [mail for mail in run.evidence.mails if mail.job != "unknown"]

    assert sins(run) == [(Sin.FALSELY_UNKNOWN, "unknown")]
    assert balance(Books(run.evidence)).truly_ambiguous == 0


def test_a_mark_under_another_claim_is_none(run):
    """An earlier attempt was marked and refused; the one that is held was not."""
    run.change("unknown", claim=99)
    delivery = next(d for d in run.evidence.deliveries if d.job == "unknown")
    run.evidence.deliveries[run.evidence.deliveries.index(delivery)] = type(delivery)("unknown", "unknown", 99)

    assert sins(run) == [(Sin.FALSELY_UNKNOWN, "unknown")]


@pytest.mark.parametrize("outcome", ["sent", "transient", "permanent"])
def test_held_though_a_reply_is_on_record_is_falsely_unknown(run, outcome):
    run.evidence.attempts.append(Attempt("unknown", run.row("unknown").claim, outcome, run.now))

    assert sins(run) == [(Sin.FALSELY_UNKNOWN, "unknown")]


@pytest.mark.parametrize(("provider", "wrong"), [("first", []), ("second", [(Sin.FALSELY_UNKNOWN, "passed-on")])])
def test_what_another_provider_refused_before_is_no_reply_to_the_dot(run, provider, wrong):
    run.accept("passed-on")
    claim = run.claim("passed-on")
    run.mark("passed-on", claim)
    run.dot("passed-on", kept=False, answer="451 4.3.0 Busy")
    if provider == "first":
        run.evidence.attempts.append(Attempt("passed-on", claim, "transient", run.tick(None)))
    run._step("passed-on", "claimed", claim)
    run.mark("passed-on", claim)
    run.dot("passed-on", answer=None)
    run.deed("passed-on", "dot", "keep and drop")
    if provider == "second":
        run.evidence.attempts.append(Attempt("passed-on", claim, "transient", run.tick(None)))
    run.settle("passed-on", "unknown", "unknown", claim, "unknown")

    assert sins(run) == wrong


def test_unknown_with_a_delivery_that_is_not_is_falsely_unknown(run):
    run.evidence.deliveries = [d for d in run.evidence.deliveries if d.job != "unknown"]

    assert sins(run) == [(Sin.FALSELY_UNKNOWN, "held"), (Sin.FALSELY_UNKNOWN, "unknown")]


def test_waiting_beside_a_job_that_was_sent_long_ago_is_falsely_unknown(run):
    run.change("twin", status="unknown", held_behind="sent", duplicate_of=None)

    assert sins(run) == [(Sin.FALSELY_UNKNOWN, "twin")]


# ── Falsely dead ──────────────────────────────────────────────────────────────────────────────


def test_dead_without_a_5xx_in_the_servers_book_is_falsely_dead(run):
    run.evidence.deeds = [deed for deed in run.evidence.deeds if deed.recipient != "dead@x"]

    assert sins(run) == [(Sin.FALSELY_DEAD, "dead")]


def test_dead_after_a_4xx_is_falsely_dead(run):
    run.refuse("tired", words="451 4.3.0 Try again later")

    assert sins(run) == [(Sin.FALSELY_DEAD, "tired")]


def test_dead_though_the_server_has_it_is_falsely_dead(run):
    run.mark("dead", run.row("dead").claim)
    run.dot("dead")

    assert sins(run) == [(Sin.FALSELY_DEAD, "dead")]


# ── The rules of the protocol ─────────────────────────────────────────────────────────────────


def test_a_dot_before_its_mark_was_committed_is_found(run):
    run.accept("hasty")
    claim = run.claim("hasty")
    run.dot("hasty")
    run.mark("hasty", claim)
    run.settle("hasty", "completed", "sent", claim, "sent")

    assert sins(run) == [(Sin.UNMARKED, "hasty")]


def test_two_dots_on_one_mark_are_found_though_the_first_was_thrown_away(run):
    run.accept("again")
    claim = run.claim("again")
    run.mark("again", claim)
    run.dot("again", kept=False, answer="451 4.3.0 Try again later")
    run.dot("again")
    run.settle("again", "completed", "sent", claim, "sent")

    assert sins(run) == [(Sin.UNMARKED, "again")]


def test_a_final_state_that_was_left_is_found_though_it_is_final_again_in_the_end(run):
    run.move("sent", "queued")
    run.move("sent", "completed")

    assert sins(run) == [(Sin.REVIVED, "sent")]


def test_a_final_state_may_be_left_by_decision(run):
    run.evidence.decisions.append(Decision("dead", "requeued"))
    run.move("dead", "queued")
    run.carry_out("dead")

    assert sins(run) == []


def test_a_late_reply_is_no_decision(run):
    run.evidence.decisions.append(Decision("sent", "late_reply"))
    run.move("sent", "queued")
    run.move("sent", "completed")

    assert sins(run) == [(Sin.REVIVED, "sent")]


def test_a_delivery_that_forgets_that_it_was_sent_is_found(run):
    run.evidence.steps.append(Step("sent", "sent", "released", run.now, None))

    assert sins(run) == [(Sin.REVIVED, "sent")]


def test_a_row_that_was_deleted_after_its_end_is_found(run):
    run.evidence.moves.append(Move("sent", "completed", "", run.now))

    assert (Sin.REVIVED, "sent") in sins(run)


# ── The front door ────────────────────────────────────────────────────────────────────────────


def test_one_key_that_was_answered_with_two_jobs_is_found(run):
    run.send("other", group="sent too", key=None)
    run.evidence.answers.append(Answer(1, "other", run.now))

    assert (Sin.SPLIT_KEY, "key sent") in sins(run)


def test_two_rows_under_one_key_are_found_though_the_clients_heard_of_one(run):
    run.change("dead", key="key sent")

    assert (Sin.SPLIT_KEY, "key sent") in sins(run)


def test_a_row_that_no_client_can_have_caused_is_found(run):
    run.evidence.rows.append(Row("nobody's", "unknown", "elsewhere@x"))

    assert (Sin.STRAY, "nobody's") in sins(run)


def test_a_lost_answer_explains_one_row_of_a_client_without_a_key(run):
    run.send("heard", group="", key=None)
    number = run.evidence.offers[-1].number
    run.evidence.losses.append(Loss(number, run.now))
    for job in ("unheard", "unheard too"):
        run.accept(job, group="", key=None)
        run.evidence.offers.pop()
        run.evidence.answers.pop()
        run.change(job, recipient="heard@x")
        run.carry_out(job)

    assert sins(run) == [(Sin.STRAY, "unheard too")]


def test_a_lost_answer_explains_no_row_beside_the_one_that_answered_the_key(run):
    run.evidence.losses.append(Loss(1, run.now))
    run.evidence.rows.append(Row("second", "completed", "sent@x", duplicate_of="sent"))

    assert (Sin.STRAY, "second") in sins(run)


def test_a_mail_of_no_job_is_found(run):
    run.evidence.mails.append(Mail("", "sent@x", True, run.now, "250 OK", run.now))

    assert (Sin.STRAY, "no job") in sins(run)


# ── What is about no job ──────────────────────────────────────────────────────────────────────


def test_a_good_job_that_the_api_refused_fails_the_run(run):
    run.evidence.refusals.append(Refusal(3, "400 no"))

    assert sins(run) == [(Sin.REFUSED, "number 3")]


def test_a_process_that_ended_by_itself_fails_the_run(run):
    run.evidence.falls.append(Fall("worker 2", run.now, "exit status 1"))

    assert sins(run) == [(Sin.FALLEN, "worker 2")]


def test_an_audit_that_does_not_hold_fails_the_run(run):
    run.evidence.audit = Audit(holds=False, words="sent_twice 1")

    assert sins(run) == [(Sin.UNBALANCED, "audit")]


def test_a_finding_tells_the_story_of_its_job(run):
    run.evidence.mails = [mail for mail in run.evidence.mails if mail.job != "sent"]

    told = judge(run.evidence).findings[0].story

    assert "client" in told[0]
    assert any("delivery claimed → dot" in line for line in told)


def test_the_json_says_all_that_was_counted(run):
    run.evidence.mails = [mail for mail in run.evidence.mails if mail.job != "sent"]

    said = as_json(judge(run.evidence))

    assert said["passed"] is False
    assert said["sins"]["lost"] == 2
    assert said["endings"] == {
        "sent once": 0,
        "suppressed": 0,
        "unknown": 1,
        "held": 1,
        "dead": 1,
        "live": 0,
        "lost": 2,
    }
