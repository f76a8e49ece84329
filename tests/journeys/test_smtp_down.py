"""Mail servers that refuse, stall, drop and disappear: each of their answers has its end."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import pytest

from jobs.models import Attempt, DeadLetter
from scheduler.embedded.faulty_smtp import ACCEPT_THEN_DROP, ACCEPT_THEN_STALL, THROW_AWAY_AND_DROP, Act, FaultySmtp

pytestmark = pytest.mark.slow

MOST_ATTEMPTS = 3
AT_RCPT = {  # the answers to one recipient's RCPT, one attempt after the other; then 250
    "greylisted@example.com": ["450 4.7.1 Come again"],
    "stalled@example.com": [Act.STALL],
    "dropped@example.com": [Act.DROP],
    "gone@example.com": ["550 5.1.1 No such user"],
    "never@example.com": ["450 4.2.0 Not today"] * MOST_ATTEMPTS,
}
AT_DOT = {
    "busy@example.com": ["451 4.3.0 Busy"],
    "spam@example.com": ["554 5.7.1 Spam"],
    "taken@example.com": [ACCEPT_THEN_DROP],
    "thrown@example.com": [THROW_AWAY_AND_DROP],
    "silent@example.com": [ACCEPT_THEN_STALL],
}
ENDS = {  # recipient: status, outcomes of the attempts, reason of the dead letter, copies in the server's book
    "fine@example.com": ("completed", ["sent"], None, 1),
    "greylisted@example.com": ("completed", ["transient", "sent"], None, 1),
    "stalled@example.com": ("completed", ["transient", "sent"], None, 1),
    "dropped@example.com": ("completed", ["transient", "sent"], None, 1),
    "busy@example.com": ("completed", ["transient", "sent"], None, 1),
    "gone@example.com": ("failed", ["permanent"], "permanent", 0),
    "spam@example.com": ("failed", ["permanent"], "permanent", 0),
    "never@example.com": ("failed", ["transient"] * MOST_ATTEMPTS, "exhausted", 0),
    "taken@example.com": ("unknown", ["unknown"], "unknown", 1),
    "thrown@example.com": ("unknown", ["unknown"], "unknown", 0),
    "silent@example.com": ("unknown", ["unknown"], "unknown", 1),
}


class OneAfterTheOther(dict):
    """Answers by address, each used up by the attempt that hears it."""

    def __init__(self, answers):
        super().__init__({address: list(answers[address]) for address in answers})

    def get(self, address, default=None):
        return self[address].pop(0) if super().get(address) else default


def character(smtp: FaultySmtp) -> None:
    at_dot = OneAfterTheOther(AT_DOT)
    smtp.rcpt_answers = OneAfterTheOther(AT_RCPT)
    smtp.at_dot = lambda mail: at_dot.get(mail.recipients[0])


def test_every_answer_of_a_server_has_its_end(platform, smtp):
    character(smtp)
    platform.env |= {"COMMAND_TIMEOUT_SECONDS": "2", "DOT_TIMEOUT_SECONDS": "2"}
    platform.start_worker()
    platform.start_scheduler()
    platform.start_scheduler()  # two clocks promote each retry once

    jobs = {to: platform.accept(to, max_attempts=MOST_ATTEMPTS) for to in ENDS}
    for to, job_id in jobs.items():
        platform.until_status(ENDS[to][0], job_id)

    reasons = defaultdict(lambda: None, DeadLetter.objects.values_list("job_id", "reason"))
    ends = {
        to: (platform.job(id).status, platform.outcomes(id), reasons[id], platform.copies(id))
        for to, id in jobs.items()
    }
    assert ends == ENDS
    assert [platform.job(jobs[f"{who}@example.com"]).last_error["code"] for who in ("gone", "spam", "never")] == [
        *(550, 554),
        450,
    ]
    platform.assert_books_balance()


def test_while_a_server_is_down_jobs_wait_longer_and_longer_and_then_are_sent(platform, smtp):
    smtp.stop()
    platform.env["CIRCUIT_OPEN_SECONDS"] = "0.1"  # no longer than the job itself would wait
    platform.start_worker()
    platform.start_scheduler()

    job_id = platform.accept(max_attempts=50)
    platform.until(lambda: len(platform.outcomes(job_id)) >= 3)
    smtp.start()
    platform.until_status("completed", job_id)

    attempts = list(Attempt.objects.filter(job_id=job_id))
    assert [attempt.outcome for attempt in attempts] == ["transient"] * (len(attempts) - 1) + ["sent"]
    assert {attempt.kind for attempt in attempts[:-1]} == {"connect"}
    waits = [attempts[n + 1].ended_at - attempts[n].ended_at for n in range(3)]
    for wait, least in zip(waits, (0.08, 0.16, 0.32), strict=True):  # 0.1 s doubled each time, jitter 20 %
        assert wait >= timedelta(seconds=least)
    platform.assert_books_balance()
