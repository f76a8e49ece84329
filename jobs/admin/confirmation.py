"""The page between choosing a decision and making it: what it would come to, the reason why, and the way back.

It serves one dead letter and many alike. Nothing is changed before its form comes back; then every row is decided anew,
so the numbers of the page are what was seen, and the messages say what was done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from jobs import bulk_decisions
from jobs.bulk_decisions import Clause, Tally, clauses
from jobs.decisions import LONGEST_NOTE, clean_note
from jobs.errors import InvalidRequest
from jobs.models import DeadLetter
from jobs.resolutions import OVERRIDABLE, Outlook
from jobs.states import Resolution

TEMPLATE = "admin/jobs/deadletter/confirm.html"
CONFIRMED, AFTER, UP_TO = "confirmed", "after", "up_to"
CARRIED = ("action", "select_across", ACTION_CHECKBOX_NAME)  # Django's own, of an action on a list

WORDS = {  # the button, and what it means
    Resolution.REQUEUED: ("Requeue", "Dead jobs are tried again, each with a new budget of attempts."),
    Resolution.DISCARDED: ("Discard", "Dead letters are put aside for good; their jobs stay failed."),
    Resolution.MARK_SENT: ("Mark sent", "Unknowns count as sent from now on: somebody knows that they arrived."),
    Resolution.SEND_AGAIN: ("Send again", "Unknowns are sent again, though they may have arrived before: twice, then."),
    Resolution.DROP: ("Drop", "Unknowns are let be, sent or not; nothing with the same key is sent any more."),
}
OVERRIDES = {
    Outlook.ALREADY_SENT: (
        "Send those once more that already have it",
        "Another message of the same key was sent: it may arrive twice. Your name and your reason go on record.",
    ),
    Outlook.UNKNOWN: (
        "Send unknown ones again",
        "Nobody can know whether they were sent: they may arrive twice. Your name and your reason go on record.",
    ),
}


class ReasonForm(forms.Form):
    """Why; and, where there is something to override, whether to."""

    note = forms.CharField(
        label="Why",
        required=False,
        max_length=LONGEST_NOTE,
        help_text="For the record, beside your name and the time.",
        widget=UnfoldAdminTextInputWidget({"autofocus": True}),
    )

    def __init__(self, data: Any, *, offered: Iterable[Outlook]) -> None:
        super().__init__(data)
        self.offered = [outlook for outlook in OVERRIDES if outlook in offered]
        for outlook in self.offered:
            label, warning = OVERRIDES[outlook]
            self.fields[outlook.value] = forms.BooleanField(
                label=label, help_text=warning, required=False, widget=UnfoldBooleanWidget()
            )

    @property
    def overrides(self) -> frozenset[Outlook]:
        return frozenset(outlook for outlook in self.offered if self.cleaned_data.get(outlook.value))

    def clean(self) -> dict[str, Any]:
        if "note" in self.cleaned_data:
            try:
                note = clean_note(self.cleaned_data["note"], is_required=bool(self.overrides))
                self.cleaned_data["note"] = note
            except InvalidRequest as refusal:
                self.add_error("note", refusal.fields["note"][0])
        return self.cleaned_data


def confirm(
    admin: ModelAdmin, request: HttpRequest, rows: QuerySet[DeadLetter], resolution: Resolution, *, back: str
) -> HttpResponse:
    """The page, or what follows it: the decision, its messages and the way back, or the page again for the rest."""
    after, up_to = _number(request, AFTER), _number(request, UP_TO) or _newest(rows)
    rows = rows.filter(id__lte=up_to)  # what came after the page was drawn was not seen by anybody
    wrong = None
    if request.POST.get(CONFIRMED):
        form = ReasonForm(request.POST, offered=OVERRIDABLE if resolution is Resolution.REQUEUED else ())
        if form.is_valid():
            tally = _decide(request, rows, resolution, form, after=after)
            _tell(admin, request, tally)
            if tally.continue_after is None:
                return HttpResponseRedirect(back)
            after = tally.continue_after
        else:
            wrong = request.POST
    preview = bulk_decisions.preview(rows, resolution, after=after)
    form = ReasonForm(wrong, offered=_overridable(preview))
    return _page(admin, request, preview, form, back=back, carried=_carried(request, after=after, up_to=up_to))


def _decide(
    request: HttpRequest, rows: QuerySet[DeadLetter], resolution: Resolution, form: ReasonForm, *, after: int
) -> Tally:
    assert request.user.pk is not None  # nobody gets here without logging in
    how: dict[str, Any] = {"note": form.cleaned_data["note"], "overrides": form.overrides}
    return bulk_decisions.decide(rows, resolution, by=request.user.pk, after=after, **how)


def _tell(admin: ModelAdmin, request: HttpRequest, tally: Tally) -> None:
    """One message for each way in which the decision ended."""
    for clause in clauses(tally):
        level = messages.SUCCESS if clause.is_taken and clause.count else messages.WARNING
        admin.message_user(request, f"{clause}{_ids(clause)}", level)


def _ids(clause: Clause) -> str:
    if not clause.ids:
        return ""
    return f" ({', '.join(map(str, clause.ids))}{', …' if clause.count > len(clause.ids) else ''})"


def _overridable(preview: Tally) -> set[Outlook]:
    if preview.resolution is not Resolution.REQUEUED:
        return set()
    return {outlook for outlook in OVERRIDABLE if preview.left[outlook]}


def _page(
    admin: ModelAdmin, request: HttpRequest, preview: Tally, form: ReasonForm, *, back: str, carried: list[Any]
) -> TemplateResponse:
    title, explanation = WORDS[preview.resolution]
    context = admin.admin_site.each_context(request) | {
        "title": title,
        "explanation": explanation,
        "clauses": list(clauses(preview)),
        "is_only_a_part": preview.continue_after is not None,
        "looked_at": preview.counts.total(),
        "can_be_done": preview.decided > 0 or bool(form.offered),
        "form": form,
        "carried": carried,
        "back": back,
        "opts": admin.opts,
    }
    return TemplateResponse(request, TEMPLATE, context)


def _carried(request: HttpRequest, *, after: int, up_to: int) -> list[tuple[str, Any]]:
    """What the form brings back: the selection as Django wrote it, and how far it reaches."""
    selection = [(name, value) for name in CARRIED for value in request.POST.getlist(name)]
    return [*selection, (CONFIRMED, "yes"), (AFTER, after), (UP_TO, up_to)]


def _newest(rows: QuerySet[DeadLetter]) -> int:
    return rows.order_by("-id").values_list("id", flat=True).first() or 0


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
