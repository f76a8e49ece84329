"""The suppression list: addresses that get no more mail of an owner, none at all or none of one topic.

The only writer of its table. Whoever is on it is left out at the gate, by the gate's own statement (jobs/sql/gate.sql);
what becomes of the job then is in omissions.py.
"""

from __future__ import annotations

from collections.abc import Collection
from string import ascii_lowercase, ascii_uppercase
from uuid import UUID

import structlog

from jobs import addresses as syntax
from jobs.database import move
from jobs.errors import InvalidRequest, NotFound
from jobs.models import Suppression
from jobs.postgres.arrays import Texts
from jobs.settlements import clean
from jobs.sql import run
from jobs.states import SuppressionReason
from jobs.unsubscribing import TOPIC_REMEDY, is_topic

log = structlog.get_logger(__name__)

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def compared(text: str) -> str:
    """An address as it stands on the list, and as recipients are compared with it: without a name, its domain in ASCII,
    and A to Z in lower case, for people write their addresses now so and now so. Beyond ASCII a local part is compared
    as it is, as PostgreSQL's collation "C" does.

    Raises ValueError with a sentence that names the remedy.
    """
    return syntax.parse(text).spec.translate(_LOWER)


@move
def add(
    owner_id: int,
    addresses: Collection[str],
    *,
    reason: SuppressionReason,
    detail: str = "",
    topic: str = "",
    job_id: UUID | None = None,
) -> int:
    """These get no more mail of this owner's: none of this topic, or without one none at all.

    How many are new. To add one again changes nothing: what was written first stands. `detail` says in a few words
    where that is known from. Raises InvalidRequest naming `topic` or `addresses[n]`, and then adds none.
    """
    wanted = read_all(addresses)
    check_topic(topic)
    if not wanted:
        return 0
    added = len(
        run(
            "insert_suppressions",
            owner_id=owner_id,
            addresses=Texts(wanted),
            topic=topic,
            reason=reason.value,
            detail=clean(detail),
            job_id=job_id,
        )
    )
    log.info("addresses_suppressed", owner_id=owner_id, reason=reason.value, added=added, given=len(addresses))
    return added


@move
def remove(owner_id: int, address: str, *, topic: str = "") -> Suppression:
    """It gets mail again; the entry as it was. One for everything is not one for a topic, nor the other way round.

    Raises NotFound, InvalidRequest naming `address`.
    """
    try:
        wanted = compared(address)
    except ValueError as error:
        raise InvalidRequest.field("address", str(error)) from None
    row = Suppression.objects.select_for_update().filter(owner_id=owner_id, address=wanted, topic=topic).first()
    if row is None:
        raise NotFound
    was = row.id
    row.delete()
    row.id = was
    log.info("suppression_lifted", owner_id=owner_id, reason=row.reason)
    return row


def read_all(addresses: Collection[str]) -> list[str]:
    """Each once, as they are compared. Raises InvalidRequest naming each `addresses[n]` that is none."""
    wanted: dict[str, None] = {}
    errors: dict[str, list[str]] = {}
    for number, text in enumerate(addresses):
        try:
            wanted[compared(text)] = None
        except ValueError as error:
            errors[f"addresses[{number}]"] = [str(error)]
    if errors:
        first = next(iter(errors))
        raise InvalidRequest(f"{first}: {errors[first][0]}", fields=errors)
    return list(wanted)


def check_topic(topic: str) -> None:
    """Raises InvalidRequest naming `topic`."""
    if not is_topic(topic):
        raise InvalidRequest.field("topic", TOPIC_REMEDY)
