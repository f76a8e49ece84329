"""The witness: unknowns of whose mail an email service has told something are closed by that."""

from __future__ import annotations

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from jobs import queue, testimony
from jobs.errors import SendonceError
from jobs.states import Status
from jobs.testimony import Testimony
from workers.channels import letter

log = structlog.get_logger(__name__)

PAGE = 500  # dead letters looked at in one round


class Witness:
    """Goes through all open unknowns, a page a round, and begins again."""

    name = "witness"
    every_seconds = 2.0

    def __init__(self) -> None:
        self._after = 0

    def run_once(self, now: float) -> dict[str, int]:
        found, self._after = testimony.page(self._after, limit=PAGE)
        failure: DatabaseError | None = None
        sent = 0
        for one in found:
            try:
                sent += self._conclude(one)
            except DatabaseError as error:
                failure = error  # the others are worth a try
        if failure:
            raise failure
        return {"sent": sent}

    def _conclude(self, one: Testimony) -> bool:
        claim = one.inquiry.claim
        status = testimony.conclude(one, message_id=_message_id(one))
        if status is Status.COMPLETED:
            queue.remember_sent([claim.dedupe_hash])
            log.info("unknown_witnessed", job_id=str(claim.job_id), esp=one.answer.source, told=one.answer.detail)
        return status is Status.COMPLETED


def _message_id(one: Testimony) -> str | None:
    try:
        return letter.message_id_of(one.inquiry.claim)
    except (SendonceError, ValueError, ImproperlyConfigured):  # retention took the body, or the default sender is none
        return None
