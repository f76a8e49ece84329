"""Lay jobs ready as the API does: committed rows, ids in Redis.

python -m benchmarks.ours.preload nothing 20000
"""

from __future__ import annotations

import sys
from uuid import uuid4

import django
from msgspec import Struct

from benchmarks.letter import TEXT
from jobs.types import JobType

BATCH = 500
UNKEYED = "nothing"
KEYED = "nothing_keyed"  # likewise, but each with a dedupe key of its own
USERNAME = "bench"


NOTHING = JobType(name="nothing", payload=Struct)  # nobody's payload is read: requests are made here


def main(task: str, count: int) -> None:
    django.setup()
    from django.contrib.auth import get_user_model

    from jobs import intake

    owner, _ = get_user_model().objects.get_or_create(username=USERNAME)
    for start in range(0, count, BATCH):
        wanted = [_request(task, number) for number in range(start, min(start + BATCH, count))]
        intake.accept_many(wanted, owner_id=owner.pk, correlation_id="bench")


def _request(task: str, number: int):
    from jobs import requests

    to = f"customer{number}@example.org"
    if task == "send":
        return requests.read({"type": "email", "payload": {"to": to, "subject": "Your order", "text": TEXT}})
    return requests.JobRequest(
        type=NOTHING,
        payload={"to": to},
        recipients=[to],
        options=requests.Options(dedupe_key=f"{uuid4()}" if task == KEYED else None),
        fingerprint=bytes(16),
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
