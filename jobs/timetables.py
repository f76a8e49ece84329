"""When something recurs: a cron expression in a time zone. What becomes of times that the switch to or from daylight
saving takes away or brings twice is cronsim's to say, which does as Debian's cron does (docs/recurring-jobs.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from jobs.errors import InvalidRequest

LONGEST = 100  # characters of an expression
FIELDS = 5  # a sixth would be seconds: the clock is not made for them
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
EXAMPLE = (
    "Five fields: minute, hour, day of month, month, day of week. "
    'Example: "30 7 * * 1-5", half past seven from Monday to Friday; or one of ' + f"{', '.join(ALIASES)}."
)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Times without end, of which each is told in UTC."""

    cron: str  # five fields
    zone: ZoneInfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """All times later than this moment, each later than the one before; it ends where 50 years bring none."""
        last = moment
        for time in CronSim(self.cron, moment.astimezone(self.zone)):
            at = time.astimezone(UTC)
            # Two that do not exist may move to the same minute; and in the second pass of an hour that comes twice,
            # the first would be told, which is over.
            if at > last:
                yield at
                last = at

    def next_after(self, moment: datetime) -> datetime | None:
        """The first of them, if there is any."""
        return next(self.after(moment), None)


def read(cron: str, time_zone: str) -> Timetable:
    """Raises InvalidRequest naming `cron`, `time_zone` or both."""
    errors: dict[str, list[str]] = {}
    zone = _zone(time_zone, errors)
    expression = _expression(cron, errors)
    if errors:
        raise InvalidRequest("; ".join(f"{name}: {said[0]}" for name, said in errors.items()), fields=errors)
    return Timetable(expression, zone)


def _expression(cron: str, errors: dict[str, list[str]]) -> str:
    expression = ALIASES.get(cron.strip().lower(), cron)
    if not cron.isascii() or len(cron) > LONGEST:
        errors["cron"] = [f"At most {LONGEST} ASCII characters. {EXAMPLE}"]
    elif len(expression.split()) != FIELDS:
        errors["cron"] = [f"Has {len(expression.split())} fields. {EXAMPLE}"]
    else:
        try:
            CronSim(expression, datetime.now(UTC))
        except CronSimError as error:
            errors["cron"] = [f"{error}. {EXAMPLE}"]
    return expression


def _zone(name: str, errors: dict[str, list[str]]) -> ZoneInfo:
    if name in _known_zones():
        return ZoneInfo(name)
    by_lower = {known.lower(): known for known in _known_zones()}
    close = get_close_matches(name.lower()[:80], by_lower, n=1)
    hint = f"Did you mean {by_lower[close[0]]}?" if close else "Example: Europe/Berlin, America/New_York or UTC."
    errors["time_zone"] = [f"Not a name of the IANA time zone database. {hint}"]
    return ZoneInfo("UTC")


@cache
def _known_zones() -> frozenset[str]:
    """Asked for by name only: a path in place of a name never reaches the file system."""
    return frozenset(available_timezones())
