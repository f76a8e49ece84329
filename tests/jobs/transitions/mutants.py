"""The protocol with one rule broken at a time, as an earlier draft or a careless change would have it.

The game (game.py) has to notice each. These it would not notice, and need not, since nothing comes of them:

- `sent_jobs` also completing a job that runs under a newer claim: its gate would find the `sent` anyway;
- `sent_deliveries` not believing a success after send_again or drop, or send_again taking the token off: nothing
  is sent twice by it, the truth is only told later;
- `requeue_jobs` taking a job whose key is taken: its gate would put it back, hold it, or find it a duplicate;
- the second line behind a guard that stands, or behind K1 and K2: `unmark_deliveries` without the status of the job,
  `mark` and `put_back_jobs` without the state of the delivery, `requeue_jobs` without the reason;
- what the locks of the transaction forbid already, so that only two at once could tell (test_races.py, test_traces.py):
  `hold` without the state of the key, `rescue_jobs` without the token and the status, and a rescue in one statement.
"""

from __future__ import annotations

from typing import NamedTuple


class Cut(NamedTuple):
    """In one statement, `old` becomes `new`."""

    statement: str
    old: str
    new: str


TOKEN = "AND d.claim = b.claim"
JOB_TOKEN = "AND j.claim = b.claim"
WHOEVER_ASKS = ("RETURNING d.claim", "RETURNING b.claim")

# The numbers are those of the traces in the protocol's own list, where the reason for each rule stands.
MUTANTS: dict[str, list[Cut]] = {
    "1 a rescue leaves the delivery of the dead claimed": [
        Cut("rescue_deliveries", "IN ('claimed', 'dot')", "= 'dot'"),
    ],
    "1 a rescue frees what was marked": [
        Cut("rescue_deliveries", "d.state = 'dot' OR b.doubtful_end", "b.doubtful_end"),
    ],
    "3 the gate trusts the memory of its worker": [
        Cut("gate", f"{JOB_TOKEN}\n    WHERE j.status || '' = 'running'", "WHERE true"),
        Cut("gate", "SELECT j.id, j.claim", "SELECT j.id, b.claim"),
    ],
    "4 the gate takes over what is claimed": [
        Cut("gate", "'released') = 'released'", "'released') IN ('released', 'claimed')"),
        Cut("gate", "d.state = 'released'", "d.state IN ('released', 'claimed')"),
    ],
    "4 the gate takes over what is unknown": [
        Cut("gate", "'released') = 'released'", "'released') IN ('released', 'unknown')"),
        Cut("gate", "d.state = 'released'", "d.state IN ('released', 'unknown')"),
    ],
    "5 a claim keeps the token of the one before": [
        Cut("claim", "SELECT id,", "SELECT id, claim,"),
        Cut("claim", "nextval('claims')", "coalesce(claim, nextval('claims'))"),
    ],
    "5 a success is believed from any claim": [
        Cut("sent_deliveries", TOKEN, ""),
        Cut("sent_deliveries", *WHOEVER_ASKS),
    ],
    "5 a refusal is believed from any claim": [
        Cut("refused_deliveries", TOKEN, ""),
        Cut("refused_deliveries", JOB_TOKEN, ""),
    ],
    "5 a silence is believed from any claim": [
        Cut("unanswered_deliveries", TOKEN, ""),
        Cut("unanswered_deliveries", *WHOEVER_ASKS),
    ],
    "5 a mark is given to whoever asks": [Cut("mark", TOKEN, ""), Cut("mark", *WHOEVER_ASKS)],
    "5 a mark is taken back by whoever asks": [Cut("take_mark_back", TOKEN, "")],
    "5 a job is put back by whoever asks": [
        Cut("put_back_jobs", JOB_TOKEN, ""),
        Cut("put_back_jobs", "RETURNING j.claim", "RETURNING b.claim"),
    ],
    "5 a suspect is acquitted by whoever asks": [Cut("acquit", JOB_TOKEN, "")],
    "a job is claimed from another worker": [Cut("claim", "= 'queued'", "IN ('queued', 'running')")],
    "a mark is taken back after the worker was declared dead": [Cut("take_mark_back", "AND d.state = 'dot'", "")],
    "a late success is not believed": [
        Cut("sent_deliveries", "IN ('dot', 'unknown', 'released', 'dropped')", "= 'dot'")
    ],
    "a late refusal is not believed": [Cut("refused_deliveries", "IN ('dot', 'unknown')", "= 'dot'")],
    "a late answer leaves the dead letter open": [Cut("close_dead_letters", "WHERE", "WHERE false AND")],
    "6 nobody sweeps": [Cut("lock_own_unknown", "WHERE", "WHERE false AND")],
    "6 a sweep takes what another worker holds": [
        Cut("own_running", "AND worker = %(worker)s", "AND %(worker)s::uuid IS NOT NULL"),
        Cut("lock_own_unknown", "AND j.worker = %(worker)s", "AND %(worker)s::uuid IS NOT NULL"),
    ],
    "7 a rescue does not look at the heartbeat": [Cut("lock_held_by_silent", "w.id = j.worker AND", "false AND")],
    "8 nobody wakes what was held": [Cut("wake_held", "WHERE j.status", "WHERE false AND j.status")],
    "9 after send_again nothing is in doubt": [
        Cut("decide_jobs", "= 'send_again',\n    attempts", "= '',\n    attempts")
    ],
    "9 a job in doubt is cancelled": [Cut("cancel", "AND NOT in_doubt", "")],
    "9 a job in doubt expires": [Cut("claim", "AND NOT in_doubt", "")],
    "9 a job in doubt fails": [Cut("refused_deliveries", "b.final AND j.in_doubt", "false")],
    "10 drop opens the key": [Cut("decide_deliveries", "'dropped'", "'released'")],
    "10 nobody buries what was held beside a dropped job": [
        Cut("bury_held", "WHERE j.status", "WHERE false AND j.status")
    ],
    "11 what was dropped is requeued": [
        Cut("look_at_dead_letters", "l.reason = 'dropped' OR d.state = 'dropped'", "false"),
        Cut("requeue_jobs", "AND l.reason NOT IN ('unknown', 'dropped')", ""),
        Cut("requeue_jobs", "'released') = 'released'", "'released') IN ('released', 'dropped')"),
    ],
    "the gate does not look at the suppression list": [Cut("gate", "%(partly)s::bool OR", "%(partly)s IS NOT NULL OR")],
    "13 what L1 says is believed": [Cut("duplicate", "AND d.state = 'sent'", "")],
    "14 a key is twice in a batch": [Cut("gate", "SELECT DISTINCT ON (dedupe_hash) id", "SELECT id")],
    "16 a decision about one episode is made about the next": [
        Cut("look_at_dead_letters", "l.resolution IS NOT NULL", "false"),
        Cut("look_at_dead_letters", "AND d.claim = l.claim", ""),
        Cut("decide_deliveries", "AND d.claim = l.claim AND coalesce(l.resolution, '') = ''", ""),
        Cut("resolve_dead_letters", "AND coalesce(resolution, '') = ''", ""),
    ],
}


def broken(statements: dict[str, str], mutant: str) -> dict[str, str]:
    """The statements that are changed, as this mutant has them."""
    changed: dict[str, str] = {}
    for cut in MUTANTS[mutant]:
        statement = changed.get(cut.statement, statements[cut.statement])
        assert cut.old in statement, f"{cut.statement} reads otherwise by now: look what became of {cut.old!r}"
        changed[cut.statement] = statement.replace(cut.old, cut.new)
    return changed
