"""What the API reads and answers about suppressions: decoded and encoded as it stands, and described in the OpenAPI
document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from jobs import models
from jobs.states import SuppressionReason
from jobs.unsubscribing import TOPIC

MOST = 1_000  # addresses in a call

Topic = Annotated[
    str,
    Meta(
        description="None of your mail about this; empty: none of your mail.",
        examples=["newsletter"],
        extra_json_schema={"pattern": f"^({TOPIC.pattern})?$"},
    ),
]


class NewSuppressions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Addresses that get no more mail of yours."""

    addresses: Annotated[
        list[str],
        Meta(
            description="Compared without regard to upper and lower case.",
            examples=[["ann@example.org"]],
            extra_json_schema={"minItems": 1, "maxItems": MOST},
        ),
    ]
    topic: Topic = ""
    reason: Annotated[SuppressionReason, Meta(description="Why it is listed.")] = SuppressionReason.MANUAL
    detail: Annotated[
        str, Meta(description="Where that is known from, in a few words.", extra_json_schema={"maxLength": 500})
    ] = ""


class AddedSuppressions(Struct, frozen=True, kw_only=True):
    """What became of the addresses."""

    added: int
    already_listed: Annotated[int, Meta(description="What was written first stands; twice in a call is once.")]


class Suppression(Struct, frozen=True, kw_only=True):
    """An address that gets no more mail of yours."""

    address: Annotated[str, Meta(description="As it is compared: without a name, A to Z in lower case.")]
    topic: Topic
    reason: SuppressionReason
    detail: str
    job_id: Annotated[UUID | None, Meta(description="The job that led to it; retention may have taken it.")]
    created_at: datetime


class SuppressionPage(Struct, frozen=True, kw_only=True):
    """Some suppressions, newest first; `next` and `previous` are whole URLs."""

    results: list[Suppression]
    next: str | None
    previous: str | None


def suppression(row: models.Suppression) -> Suppression:
    return Suppression(
        address=row.address,
        topic=row.topic,
        reason=SuppressionReason(row.reason),
        detail=row.detail,
        job_id=row.job_id,
        created_at=row.created_at,
    )
