"""The inquirer: where nobody knows whether a message went out, its provider may know. It is asked, soon and then less
and less often for a day; what it says closes the unknown, or stands beside it for whoever decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from django.db import Error as DatabaseError

from jobs import inquiries, queue
from jobs.backoff import wait_seconds
from jobs.conf import Tunables
from jobs.inquiries import Answer, Inquiry
from jobs.metrics import INQUIRIES
from jobs.states import Status
from workers.channels import letter
from workers.evidence.base import Evidence, NoAnswer, Source
from workers.settlement import clean

log = structlog.get_logger(__name__)

MINUTE, HOUR = 60.0, 3600.0
# From burial to the first question, from there to the second, and so on: a day in all.
WAITS = (5.0, 30.0, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 8 * HOUR)
BATCH = 10  # questions at once to one provider
ANSWER_SECONDS = 10.0  # a drain waits for no more
ANSWERS = {True: "accepted", False: "not_accepted", None: "cannot_say"}
NO_ANSWER = "no_answer"


class Inquirer:
    """Asks all providers side by side. One that cannot be asked is left alone for a while, and then asked about one
    message first."""

    name = "inquirer"
    every_seconds = 2.0

    def __init__(self, conf: Tunables, sources: Mapping[str, Source]) -> None:
        self._conf = conf
        self._sources = sources
        self._rests_until: dict[str, float] = {}  # by alias, of those that did not answer when last asked

    def run_once(self, now: float) -> dict[str, int]:
        counts = {"asked": 0, "sent": 0, "released": 0}
        due = [inquiry for alias in self._sources for inquiry in self._due(alias, now)]
        # No transaction is open while they are asked (I3): each claimed its question, and forgets it if we die now.
        failure: DatabaseError | None = None
        for inquiry, answer in asyncio.run(self._ask_all(due)) if due else ():
            try:
                status = self._conclude(inquiry, answer, now)
            except DatabaseError as error:
                failure = error  # the others' answers are worth a try
                continue
            counts["asked"] += 1
            counts["sent"] += status is Status.COMPLETED
            counts["released"] += status in (Status.SCHEDULED, Status.FAILED)
        if failure:
            raise failure
        return counts

    def _due(self, alias: str, now: float) -> Sequence[Inquiry]:
        if self._rests_until.get(alias, now) > now:
            return ()
        limit = 1 if alias in self._rests_until else BATCH
        patience = self._conf.patience_seconds
        return inquiries.claim_due(alias, waits=WAITS, patience_seconds=patience, limit=limit)

    # ── Asking ────────────────────────────────────────────────────────────────────────────────

    async def _ask_all(self, due: Sequence[Inquiry]) -> list[tuple[Inquiry, Evidence | NoAnswer]]:
        return list(zip(due, await asyncio.gather(*map(self._ask, due)), strict=True))

    async def _ask(self, inquiry: Inquiry) -> Evidence | NoAnswer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._sources[inquiry.provider].was_accepted(letter.message_id_of(inquiry.claim))
        except NoAnswer as none:
            return none
        except TimeoutError:
            return NoAnswer(f"No answer within {ANSWER_SECONDS:.0f} s.")
        except Exception as error:  # a fault of one source must not keep the others' answers from being written
            log.exception("inquiry_failed", job_id=str(inquiry.claim.job_id), provider=inquiry.provider)
            return NoAnswer(f"The question failed: {type(error).__name__}.")

    # ── What becomes of the answer ────────────────────────────────────────────────────────────

    def _conclude(self, inquiry: Inquiry, said: Evidence | NoAnswer, now: float) -> Status | None:
        source, claim = self._sources[inquiry.provider].name, inquiry.claim
        accepted = said.accepted if isinstance(said, Evidence) else None
        INQUIRIES.labels(source=source, answer=ANSWERS[accepted] if isinstance(said, Evidence) else NO_ANSWER).inc()
        self._remember(inquiry.provider, said, now)
        status = inquiries.conclude(
            inquiry,
            Answer(source, accepted, clean(said.detail), answered=isinstance(said, Evidence)),
            wait_seconds=wait_seconds(claim.attempt, self._conf),
            message_id=letter.message_id_of(claim) if accepted else None,
        )
        if status is Status.COMPLETED:
            queue.remember_sent([claim.dedupe_hash])
        log.info(
            "provider_asked",
            job_id=str(claim.job_id),
            provider=inquiry.provider,
            source=source,
            accepted=accepted,
            status=status.value if status else "as_before",
        )
        return status

    def _remember(self, alias: str, said: Evidence | NoAnswer, now: float) -> None:
        if isinstance(said, Evidence):
            self._rests_until.pop(alias, None)
            return
        if self._rests_until.get(alias, now) <= now:  # told once for all questions of this round
            tell = log.error if said.is_setting_wrong else log.warning
            tell("provider_gave_no_answer", provider=alias, detail=said.detail, rest_seconds=said.rest_seconds)
        self._rests_until[alias] = now + said.rest_seconds
