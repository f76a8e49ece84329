"""The SMTP server of a run: the faulty server, playing what the plan has in store for each job, and writing down what
it did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Set

from scheduler.embedded.faulty_smtp import (
    ACCEPT_THEN_DROP,
    ACCEPT_THEN_STALL,
    THROW_AWAY_AND_DROP,
    Act,
    AtDotRule,
    Delay,
    FaultySmtp,
    Moment,
)
from scheduler.embedded.faulty_smtp import Mail as Heard
from scheduler.torture import fates
from scheduler.torture.evidence import Deed, Mail
from scheduler.torture.fates import Fate, Trouble, plan_connection
from scheduler.torture.faults import Fault

ACTS: Mapping[str, AtDotRule] = {
    fates.DROP: Act.DROP,
    fates.RESET: Act.RESET,
    fates.STALL: Act.STALL,
    fates.INVITE_AND_DROP: b"354 Go ahead\r\n",  # bytes are followed by a drop
    fates.KEEP_AND_DROP: ACCEPT_THEN_DROP,
    fates.KEEP_AND_STALL: ACCEPT_THEN_STALL,
    fates.THROW_AND_DROP: THROW_AWAY_AND_DROP,
}


class Provider:
    """`start()` and `stop()` any number of times on the same port; the books go on."""

    def __init__(
        self, *, seed: int, fates: Mapping[str, Fate], faults: Set[Fault], texts: Mapping[str, str] | None = None
    ) -> None:
        self._seed = seed
        self._fates = fates
        self._texts = texts or {}  # what each recipient is to read, where the plan has its words
        self._faults = faults
        self._attempts: Counter[str] = Counter()
        self._troubles: dict[int, Trouble | None] = {}  # of the message under way, by connection
        self._addressed: dict[int, str] = {}  # the job of the message under way
        self._deeds: list[Deed] = []
        self._server = FaultySmtp(script=self._act)
        self._is_up = False

    @property
    def port(self) -> int:
        return self._server.port

    def start(self) -> None:
        self._server.start()
        self._is_up = True

    def stop(self) -> None:
        """Connections break, new ones are refused."""
        if self._is_up:
            self._is_up = False
            self._server.stop()

    def counts(self) -> tuple[int, int]:
        """How many mails it has kept, and how many dots it has heard."""
        mails = self._server.mails
        return sum(mail.kept for mail in mails), len(mails)

    def mails(self, *, clock: float) -> list[Mail]:
        """The book; `clock` turns time.monotonic() into seconds since 1970."""
        return [
            Mail(
                job=mail.job_id,
                recipient=mail.recipients[0],
                kept=mail.kept,
                heard_at=mail.heard_at + clock,
                answer=mail.answer,
                answered_at=None if mail.answered_at is None else mail.answered_at + clock,
                connection=mail.connection,
                is_whole=not mail.kept or self._is_whole(mail),
            )
            for mail in self._server.mails
        ]

    def _is_whole(self, mail: Heard) -> bool:
        text = self._texts.get(mail.recipients[0])
        body = mail.message.get_body(("plain",))
        return text is None or (body is not None and body.get_content().split() == text.split())

    def deeds(self, *, clock: float) -> list[Deed]:
        return [Deed(d.recipient, d.phase, d.did, d.at + clock, d.connection) for d in list(self._deeds)]

    # ── The script, asked in the server's own thread ──────────────────────────────────────────

    def _act(self, moment: Moment) -> AtDotRule:
        trouble = self._trouble(moment)
        if trouble is None or trouble.phase != moment.phase:
            return None
        recipient = self._addressed.get(moment.connection, "")
        self._deeds.append(Deed(recipient, trouble.phase, trouble.does, time.monotonic(), moment.connection))
        return _as_rule(trouble)

    def _trouble(self, moment: Moment) -> Trouble | None:
        if moment.phase in ("banner", "ehlo"):
            self._addressed.pop(moment.connection, None)
            return plan_connection(self._seed, moment.connection, self._faults)
        if moment.phase == "mail":
            self._addressed.pop(moment.connection, None)
            self._troubles[moment.connection] = None
            if moment.sender in self._fates:
                self._begin(moment.connection, moment.sender)
        elif moment.phase == "rcpt" and moment.connection not in self._addressed:
            self._begin(moment.connection, moment.recipients[-1])
        return self._troubles.get(moment.connection)

    def _begin(self, connection: int, address: str) -> None:
        """A new attempt for this job: the next trouble of its fate, or none."""
        fate = self._fates.get(address, ())
        number = self._attempts[address]
        self._attempts[address] += 1
        self._addressed[connection] = address
        self._troubles[connection] = fate[number] if number < len(fate) else None


def _as_rule(trouble: Trouble) -> AtDotRule:
    if trouble.does == fates.SLOW:
        return Delay(trouble.seconds)
    if trouble.does in ACTS:
        return ACTS[trouble.does]
    return Delay(trouble.seconds, trouble.does) if trouble.seconds else trouble.does
