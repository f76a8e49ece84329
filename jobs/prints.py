"""What goes to the press and what comes back: sources, variables, and the mail that they make. Ground; shapes only."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

MOST_SUBJECT_CHARACTERS = 1_000  # of its source
MOST_SOURCE_CHARACTERS = 128 * 1024  # of text and html, each
MOST_OUTPUT_BYTES = 512 * 1024  # likewise, filled in

Path = tuple[str | int, ...]  # `order.rows[0].name` is ("order", "rows", 0, "name")


class Sources(Struct, frozen=True, kw_only=True):
    """A template as it was written."""

    subject: str
    text: str | None = None
    html: str | None = None

    def by_field(self) -> dict[str, str]:
        """Those that there are."""
        each = {"subject": self.subject, "text": self.text, "html": self.html}
        return {field: source for field, source in each.items() if source is not None}


class Need(Struct, frozen=True, kw_only=True):
    """A variable that a template speaks of."""

    path: Path
    required: bool

    @property
    def name(self) -> str:
        return shown(self.path)


class Flaw(Struct, frozen=True, kw_only=True):
    """What is wrong. `field` is subject, text or html, or empty where it is no single one of them."""

    field: str = ""
    line: int | None = None
    message: str
    is_of_variables: bool = False  # the values are wrong, and not the template

    @property
    def sentence(self) -> str:
        return f"line {self.line}: {self.message}." if self.line else f"{self.message}."


class Inspection(Struct, frozen=True, kw_only=True):
    """What was found in sources: the variables that they need, or what is wrong with them."""

    needs: list[Need] = []
    flaws: list[Flaw] = []


class Order(Struct, frozen=True, kw_only=True):
    """Sources to be filled in."""

    sources: Sources
    variables: dict[str, Any]


class Print(Struct, frozen=True, kw_only=True):
    """The mail, or what stands in its way."""

    subject: str = ""
    text: str | None = None
    html: str | None = None
    flaws: list[Flaw] = []


def shown(path: Path) -> str:
    """As it is written in a template, and in the paths of errors."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).lstrip(".")
