"""Writes answers: JSON by msgspec, the same for everyone, whatever `Accept` says."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer

encode = msgspec.json.Encoder().encode


class JsonRenderer(BaseRenderer):
    """Structs, UUIDs and times in UTC (with Z) as they are."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else encode(data)


class OneKind(BaseContentNegotiation):
    """There is one kind of body in and one out; a client that asks for another gets it all the same."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type
