"""How the readers of a mail end it: the topic that it is about. Ground; no I/O."""

from __future__ import annotations

import re

TOPIC = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
TOPIC_REMEDY = (
    "is no topic. Use 1 to 100 of a-z, 0-9, `_`, `.` and `-`, and begin with a letter or digit; empty is everything."
)


def is_topic(text: str) -> bool:
    """Whether mail can be about this; "" is everything."""
    return not text or TOPIC.fullmatch(text) is not None
