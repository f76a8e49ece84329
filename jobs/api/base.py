"""What all views share: JSON in and out, problems for errors, and whose request it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.views import APIView

from jobs.api.renderers import JsonRenderer, OneKind, encode


class View(APIView):
    """For a caller with a bearer token; the token is checked without asking the database."""

    content_negotiation_class = OneKind
    metadata_class = None
    http_method_names = ["get", "post", "put", "delete", "head"]

    # REST framework makes all of these anew for each request. None of ours remembers anything about one.
    _shared: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._shared = {}

    def _once(self, name: str) -> Any:
        if name not in self._shared:
            self._shared[name] = getattr(super(), name)()
        return self._shared[name]

    def get_parsers(self) -> Any:
        return self._once("get_parsers")

    def get_renderers(self) -> Any:
        return self._once("get_renderers")

    def get_authenticators(self) -> Any:
        return self._once("get_authenticators")

    def get_permissions(self) -> Any:
        return self._once("get_permissions")

    def get_throttles(self) -> Any:
        return self._once("get_throttles")

    def get_content_negotiator(self) -> Any:
        return self._once("get_content_negotiator")

    @property
    def caller_id(self) -> int:
        """The caller's user id; a token holds it as text."""
        try:
            return int(str(self.request.user.pk))
        except ValueError:
            raise AuthenticationFailed("The token names no user.", code="token_not_valid") from None

    @property
    def correlation_id(self) -> str:
        """The middleware's name for this request."""
        name: str = self.request.correlation_id  # type: ignore[attr-defined]
        return name


class OpenView(View):
    """For everybody."""

    authentication_classes = ()
    permission_classes = ()


def answered(shape: Any, *, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """The same bytes as REST framework's Response writes, which is made for many kinds of answer, and for later."""
    return HttpResponse(encode(shape), status=status, headers=headers, content_type=JsonRenderer.media_type)
