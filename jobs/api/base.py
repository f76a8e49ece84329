"""What all views share: JSON in and out, problems for errors, and whose request it is."""

from __future__ import annotations

from rest_framework.exceptions import AuthenticationFailed
from rest_framework.views import APIView

from jobs.api.renderers import OneKind


class View(APIView):
    """For a caller with a bearer token; the token is checked without asking the database."""

    content_negotiation_class = OneKind
    metadata_class = None
    http_method_names = ["get", "post", "head"]

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
