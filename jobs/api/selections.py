"""Bodies of decisions: about one dead letter, or about all that a selection names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from django.db.models import QuerySet
from msgspec import Meta, Struct

from jobs.api.filters import SELECTION, selection_lookups
from jobs.api.paging import LARGEST_ID
from jobs.decisions import LONGEST_NOTE
from jobs.errors import InvalidRequest
from jobs.models import DeadLetter
from jobs.resolutions import OVERRIDABLE, Outlook
from jobs.states import Decision, Reason

MOST_IDS = 1_000
MOST_NAMED = 5  # ids in an error

Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
Time = Annotated[str | None, Meta(extra_json_schema={"format": "date-time"})]
Note = Annotated[
    str | None,
    Meta(
        description=f"Why, for the record; up to {LONGEST_NOTE} characters. Required with an override.",
        examples=["The customer asked for it, ticket 4711."],
    ),
]
Word = Annotated[
    str,
    Meta(
        description="`mark_sent`: it arrived. `send_again`: it did not, or twice is better than never. "
        "`drop`: let it be.",
        examples=["mark_sent"],
        extra_json_schema={"enum": list(Decision)},
    ),
]


# ── About one ─────────────────────────────────────────────────────────────────────────────────


class RequeueRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one dead letter is requeued. Nothing of it is needed."""

    override: Annotated[
        bool, Meta(description="Send once more although another job of its key was sent; takes a `note`.")
    ] = False
    note: Note = None


class DiscardRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why one dead letter is put aside. Nothing of it is needed."""

    note: Note = None


class DecisionRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person decides about an unknown, and why."""

    decision: Word
    note: Note = None


# ── About many ────────────────────────────────────────────────────────────────────────────────


class Selection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dead letters of yours, by `ids` or by filters, and what to do with them; by default only a preview of it."""

    ids: Annotated[
        list[Id] | None,
        Meta(
            description=f"Up to {MOST_IDS} dead letters; or else at least one filter.",
            extra_json_schema={"minItems": 1, "maxItems": MOST_IDS},
        ),
    ] = None
    reason: Annotated[
        str | None,
        Meta(description="Undecided ones that died for this.", extra_json_schema={"enum": [*Reason, None]}),
    ] = None
    type: Annotated[str | None, Meta(description="Undecided ones of jobs of this type.")] = None
    since: Annotated[Time, Meta(description="Undecided ones that died at this time or later.")] = None
    until: Annotated[Time, Meta(description="Undecided ones that died before this time.")] = None
    after: Annotated[
        int, Meta(ge=0, le=LARGEST_ID, description="Only ids behind this: `continue_after` of the last answer.")
    ] = 0
    preview: Annotated[bool, Meta(description="Change nothing, say what would be done. To do it, send `false`.")] = True
    note: Note = None


class RedriveRequest(Selection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many to be requeued. What was sent, and what may have been, is left alone without an `override`."""

    override: Annotated[
        list[Annotated[str, Meta(extra_json_schema={"enum": sorted(OVERRIDABLE)})]],
        Meta(
            description="Also send `already_sent` ones once more, or `unknown` ones again: they may arrive twice. "
            "Takes a `note`.",
        ),
    ] = []


class DiscardManyRequest(Selection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many to be put aside for good. Unknowns are left alone."""


class ResolveManyRequest(Selection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many unknowns to be decided alike. Whatever is no unknown is left alone."""

    decision: Word


def selected(by: Selection, *, owner_id: int) -> QuerySet[DeadLetter]:
    """The owner's dead letters that the body names. Raises InvalidRequest naming the field."""
    filters = {name: value for name in SELECTION if (value := getattr(by, name)) is not None}
    mine = DeadLetter.objects.filter(owner_id=owner_id)
    if by.ids is not None:
        if filters:
            raise InvalidRequest.field("ids", f"Send ids or filters, not both: leave out {', '.join(filters)}.")
        return mine.filter(id__in=_known(by.ids, mine))
    if not filters:
        raise InvalidRequest.field("body", f"Select something: by ids, or by at least one of {', '.join(SELECTION)}.")
    return mine.filter(resolution=None, **selection_lookups(filters))


def overrides(by: RedriveRequest) -> frozenset[Outlook]:
    """Raises InvalidRequest naming the place."""
    for index, word in enumerate(by.override):
        if word not in OVERRIDABLE:
            raise InvalidRequest.field(f"override[{index}]", f"One of {', '.join(sorted(OVERRIDABLE))}.")
    return frozenset(map(Outlook, by.override))


def _known(ids: Sequence[int], mine: QuerySet[DeadLetter]) -> set[int]:
    if not 1 <= len(ids) <= MOST_IDS:
        raise InvalidRequest.field("ids", f"1 to {MOST_IDS} ids; use filters for more.")
    known = set(mine.filter(id__in=ids).values_list("id", flat=True))
    strange = sorted(set(ids) - known)
    if strange:
        named = ", ".join(map(str, strange[:MOST_NAMED])) + (", …" if len(strange) > MOST_NAMED else "")
        raise InvalidRequest.field("ids", f"Not among your dead letters: {named}. Leave them out.")
    return known
