"""What all pages of the admin share: nothing is changed by hand, and nothing reads or counts a whole table."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from jobs import types

COUNTED = 1000  # a list shows and counts no more than its newest rows


class NewestRows(Paginator):
    """Pages over the newest rows only, so that nothing ever counts a whole table."""

    @cached_property
    def count(self) -> int:
        newest: QuerySet[Any] = self.object_list[:COUNTED]  # type: ignore[assignment]
        return newest.count()


class ReadOnly(ModelAdmin):
    """Nobody adds, changes or deletes here; who may look is Django's `view` permission."""

    paginator = NewestRows
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    sortable_by = ()
    search_by = "id"
    search_what = "job"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By one exact id; anything else would read the whole table."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(**{self.search_by: UUID(search_term.strip())}), False
        except ValueError:
            self.message_user(request, f"Search for the whole id of a {self.search_what}.", messages.WARNING)
            return queryset.none(), False


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(type_, type_.replace("_", " ")) for type_ in types.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(type=self.value()) if self.value() else queryset
