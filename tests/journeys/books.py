"""The server's book against our rows: each accepted job once, none twice, none lost."""

from __future__ import annotations

import re
from collections import Counter
from uuid import UUID

from jobs.audit import audit
from jobs.models import Delivery, Job
from jobs.states import DeliveryState, Status
from scheduler.embedded.faulty_smtp import FaultySmtp, Mail

LIVE_DELIVERIES = [DeliveryState.CLAIMED, DeliveryState.DOT]


def job_id_of(mail: Mail) -> UUID:
    found = re.search(rb"^X-Job-ID: (\S+)\r$", mail.body, re.MULTILINE)
    assert found, "a mail without X-Job-ID"
    return UUID(found[1].decode())


def copies_of(job_id: UUID, smtp: FaultySmtp) -> int:
    return sum(job_id_of(mail) == job_id for mail in smtp.accepted)


def assert_balanced(*servers: FaultySmtp) -> None:
    copies = Counter(job_id_of(mail) for smtp in servers for mail in smtp.accepted)
    jobs = {job.id: job for job in Job.objects.all()}
    wrong = {str(id): (job.status, copies[id]) for id, job in jobs.items() if copies[id] not in _right_copies(job)}

    assert not wrong, f"status and copies in the servers' books: {wrong}"
    assert copies.keys() <= jobs.keys(), "a mail of no job"
    assert not [finding for finding in audit() if not finding.is_ok]
    _assert_rows_agree(jobs)


def _right_copies(job: Job) -> set[int]:
    if job.status == Status.COMPLETED:
        return {0} if job.duplicate_of else {1}
    if job.status in (Status.UNKNOWN, Status.RUNNING) and not job.held_behind:
        return {0, 1}
    return {0}


def _assert_rows_agree(jobs: dict[UUID, Job]) -> None:
    """The two invariants that carry everything (PROTOCOL, K1 and K2)."""
    for delivery in Delivery.objects.filter(state__in=LIVE_DELIVERIES):
        job = jobs[delivery.job_id]
        assert (job.status, job.claim) == (Status.RUNNING, delivery.claim), f"{delivery} without its running job"
    for delivery in Delivery.objects.filter(state=DeliveryState.UNKNOWN):
        assert jobs[delivery.job_id].status == Status.UNKNOWN, f"{delivery} without its unknown job"
