"""States × moves: what each move of a trip does to a claim in each situation, and that it does nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from jobs import transitions
from jobs.claims import Claim
from jobs.states import Decision, Outcome
from tests.jobs.transitions.builders import (
    OTHER_WORKER,
    claimed,
    decide,
    dropped,
    facts,
    failed,
    gated,
    mark,
    marked,
    nothing_moves,
    rescue,
    sent,
    sent_again,
    settle,
    sql,
    unknown,
    where,
)

pytestmark = pytest.mark.django_db


# ── Situations: where a trip can stand when its worker acts on it (again) ─────────────────────


def rescued() -> Claim:
    claim = gated()
    rescue()
    return claim


def retried() -> Claim:
    claim = marked()
    settle(claim, Outcome.TRANSIENT, wait_seconds=60.0)
    return claim


def marked_sent() -> Claim:
    claim = unknown()
    decide(claim, Decision.MARK_SENT)
    return claim


def retaken() -> Claim:
    claim = sent_again()
    claimed(claim.job_id, worker=OTHER_WORKER)
    return claim


def retaken_gated() -> Claim:
    claim = sent_again()
    gated(claimed(claim.job_id, worker=OTHER_WORKER))
    return claim


def retaken_marked() -> Claim:
    claim = sent_again()
    marked(claimed(claim.job_id, worker=OTHER_WORKER))
    return claim


SITUATIONS: dict[str, tuple[Callable[[], Claim], tuple[str, str | None]]] = {
    "claimed": (claimed, ("running", None)),
    "gated": (gated, ("running", "claimed")),
    "marked": (marked, ("running", "dot")),
    "unknown": (unknown, ("unknown", "unknown")),
    "sent": (sent, ("completed", "sent")),
    "failed": (failed, ("failed", "released")),
    "dropped": (dropped, ("failed", "dropped")),
    "marked sent": (marked_sent, ("completed", "sent")),
    "rescued": (rescued, ("queued", "released")),
    "retried": (retried, ("scheduled", "released")),
    "sent again": (sent_again, ("queued", "released")),
    "retaken": (retaken, ("running", "released")),
    "retaken, gated": (retaken_gated, ("running", "claimed")),
    "retaken, marked": (retaken_marked, ("running", "dot")),
}


# ── Moves of a trip, and the situations in which they do something ────────────────────────────

MOVES: dict[str, tuple[Callable[[Claim], object], dict[str, tuple[str, str | None]]]] = {
    "mark": (mark, {"gated": ("running", "dot")}),
    "take the mark back": (
        lambda claim: transitions.take_mark_back([claim]),
        {"marked": ("running", "claimed")},
    ),
    "put back": (
        lambda claim: transitions.put_back([claim], wait_seconds=9.0),
        {"claimed": ("scheduled", None), "gated": ("scheduled", "released")},
    ),
    "unmark": (
        lambda claim: transitions.unmark([claim], wait_seconds=9.0),
        {
            "claimed": ("scheduled", None),
            "gated": ("scheduled", "released"),
            "marked": ("scheduled", "released"),
            "unknown": ("scheduled", "released"),
        },
    ),
    "settle sent": (
        lambda claim: settle(claim, Outcome.SENT),
        {
            "marked": ("completed", "sent"),
            "unknown": ("completed", "sent"),
            "dropped": ("completed", "sent"),
            "sent again": ("completed", "sent"),
            "retaken": ("running", "sent"),
        },
    ),
    "settle sent without a mark": (
        lambda claim: settle(claim, Outcome.SENT, marked=False),
        {"gated": ("completed", "sent")},
    ),
    "settle transient after the mark": (
        lambda claim: settle(claim, Outcome.TRANSIENT),
        {"marked": ("scheduled", "released"), "unknown": ("scheduled", "released")},
    ),
    "settle transient before the mark": (
        lambda claim: settle(claim, Outcome.TRANSIENT, marked=False),
        {"gated": ("scheduled", "released")},
    ),
    "settle permanent after the mark": (
        lambda claim: settle(claim, Outcome.PERMANENT),
        {"marked": ("failed", "released"), "unknown": ("failed", "released")},
    ),
    "settle invalid before the mark": (
        lambda claim: settle(claim, Outcome.INVALID, marked=False),
        {"gated": ("failed", "released")},
    ),
    "settle unanswered": (
        lambda claim: settle(claim, Outcome.UNKNOWN),
        {"marked": ("unknown", "unknown")},
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_situations_are_what_they_are_called(situation):
    build, expected = SITUATIONS[situation]

    assert where(build()) == expected


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("move", MOVES)
def test_a_move_does_what_it_says_where_it_may_and_nothing_anywhere_else(move, situation):
    build, before = SITUATIONS[situation]
    act, effects = MOVES[move]
    claim = build()

    if situation in effects:
        assert act(claim)
        assert where(claim) == effects[situation]
    with nothing_moves(claim):  # also: a recorder that lost the answer of a commit writes the group again
        assert not act(claim)
    assert where(claim) == effects.get(situation, before)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("move", [move for move in MOVES if not move.startswith("settle sent")])
def test_a_token_that_was_never_given_opens_nothing(move, situation):
    build, _ = SITUATIONS[situation]
    act, _ = MOVES[move]
    claim = build()
    forged = replace(claim, token=claim.token + 1_000_000)

    with nothing_moves(claim):
        assert not act(forged)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_success_under_a_token_that_was_never_given_moves_nothing_but_the_history_keeps_it(situation, marked):
    build, _ = SITUATIONS[situation]
    claim = build()
    forged = replace(claim, token=claim.token + 1_000_000)

    with nothing_moves(claim):
        assert not settle(forged, Outcome.SENT, marked=marked)

    assert facts(claim).history[-1] == "sent"
    sql("DELETE FROM jobs_attempt WHERE claim = %s", forged.token)  # else the audit rightly calls it sent twice
