"""The window on the suppression list, where operators put addresses on it and take them off."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from jobs import suppressions
from jobs.admin.read_only import ReadOnly
from jobs.decisions import LONGEST_NOTE
from jobs.errors import NotFound
from jobs.models import Suppression
from jobs.states import SuppressionReason
from jobs.unsubscribing import TOPIC_REMEDY, is_topic


class SuppressionForm(forms.ModelForm):
    """What an operator says of a new one."""

    address = forms.CharField(max_length=320, widget=UnfoldAdminTextInputWidget)
    topic = forms.CharField(
        max_length=100,
        required=False,
        help_text="Empty: no mail of this owner at all.",
        widget=UnfoldAdminTextInputWidget,
    )
    detail = forms.CharField(
        label="Why",
        max_length=LONGEST_NOTE,
        required=False,
        help_text="For the record, beside your name.",
        widget=UnfoldAdminTextInputWidget,
    )

    class Meta:
        model = Suppression
        fields = ("owner", "address", "topic", "detail")

    def clean_address(self) -> str:
        try:
            return suppressions.compared(self.cleaned_data["address"])
        except ValueError as error:
            raise forms.ValidationError(f"It {error}") from None

    def clean_topic(self) -> str:
        topic: str = self.cleaned_data["topic"]
        if not is_topic(topic):
            raise forms.ValidationError(f"It {TOPIC_REMEDY}")
        return topic

    def clean(self) -> dict[str, Any]:
        named = {name: self.cleaned_data.get(name) for name in ("owner", "address", "topic")}
        if None not in named.values() and Suppression.objects.filter(**named).exists():
            raise forms.ValidationError("This address is on the list already.")
        return self.cleaned_data


@admin.register(Suppression)
class SuppressionAdmin(ReadOnly):
    """Putting on the list takes Django's `add` permission on suppressions, taking off `delete`; nobody changes one."""

    form = SuppressionForm
    list_display = ("address", "topic", "reason", "owner", "detail", "created_at")
    list_filter = ("reason",)
    list_select_related = ("owner",)
    search_fields = ("address",)
    search_help_text = "The whole address"
    fields = ("owner", "address", "topic", "reason", "detail", "job_id", "created_at")
    add_fields = ("owner", "address", "topic", "detail")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else self.add_fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("jobs.add_suppression")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("jobs.delete_suppression")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By one whole address; anything else would read the whole table."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(address=suppressions.compared(search_term)), False
        except ValueError:
            self.message_user(request, "Search for a whole address, ann@example.org.", messages.WARNING)
            return queryset.none(), False

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: Any) -> None:
        by = f"By {request.user.get_username()} (operator)."
        detail = f"{obj.detail} {by}".strip()
        suppressions.add(obj.owner_id, [obj.address], reason=SuppressionReason.MANUAL, detail=detail, topic=obj.topic)
        obj.pk = Suppression.objects.get(owner_id=obj.owner_id, address=obj.address, topic=obj.topic).pk

    def delete_model(self, request: HttpRequest, obj: Suppression) -> None:
        self._lift(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Suppression]) -> None:
        for row in queryset:
            self._lift(row)

    @staticmethod
    def _lift(row: Suppression) -> None:
        try:
            suppressions.remove(row.owner_id, row.address, topic=row.topic)
        except NotFound:
            return  # somebody was first
