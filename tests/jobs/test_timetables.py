"""When something recurs: cron's fields, the names of zones, and the two days of the year that have no 24 hours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import timetables
from jobs.errors import InvalidRequest


def at(text):
    return datetime.fromisoformat(text)


def times(cron, zone, after, count):
    """The next times as a clock on the wall shows them."""
    table = timetables.read(cron, zone)
    return [f"{time.astimezone(table.zone):%m-%d %H:%M %z}" for time in islice(table.after(at(after)), count)]


def one_by_one(cron, zone, after, count):
    """The same by a clock that forgets all but the last time, as the one in the table does."""
    table, last, told = timetables.read(cron, zone), at(after), []
    for _ in range(count):
        last = table.next_after(last)
        told.append(f"{last.astimezone(table.zone):%m-%d %H:%M %z}")
    return told


# ── Ordinary days ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("30 7 * * 1-5", "UTC", ["01-01 07:30 +0000", "01-02 07:30 +0000", "01-03 07:30 +0000"]),
        ("*/20 * * * *", "UTC", ["01-01 00:20 +0000", "01-01 00:40 +0000", "01-01 01:00 +0000"]),
        ("0 9 1 * *", "Asia/Tokyo", ["02-01 09:00 +0900", "03-01 09:00 +0900", "04-01 09:00 +0900"]),
        ("0 0 29 2 *", "UTC", ["02-29 00:00 +0000"] * 3),
        ("@daily", "America/New_York", ["01-01 00:00 -0500", "01-02 00:00 -0500", "01-03 00:00 -0500"]),
        ("@HOURLY", "UTC", ["01-01 01:00 +0000", "01-01 02:00 +0000", "01-01 03:00 +0000"]),
        ("@weekly", "UTC", ["01-05 00:00 +0000", "01-12 00:00 +0000", "01-19 00:00 +0000"]),
        ("@yearly", "UTC", ["01-01 00:00 +0000"] * 3),
    ],
)
def test_the_next_times_follow_the_fields_in_the_time_of_the_zone(cron, zone, expected):
    assert times(cron, zone, "2031-01-01T00:00:00+00:00", 3) == expected


def test_every_alias_is_understood():
    for alias in timetables.ALIASES:
        assert timetables.read(alias, "UTC").next_after(datetime.now(UTC))


def test_the_time_itself_is_not_after_itself():
    table = timetables.read("* * * * *", "UTC")

    assert table.next_after(at("2031-01-01T00:00:00+00:00")) == at("2031-01-01T00:01:00+00:00")
    assert table.next_after(at("2031-01-01T00:00:59.999+00:00")) == at("2031-01-01T00:01:00+00:00")


# ── The switches ──────────────────────────────────────────────────────────────────────────────

SPRING, AUTUMN = "2030-03-30T12:00:00+00:00", "2030-10-26T12:00:00+00:00"  # the days before, in Europe


@pytest.mark.parametrize("ask", [times, one_by_one])
def test_a_time_that_does_not_exist_comes_once_right_after_the_gap(ask):
    assert ask("30 2 * * *", "Europe/Berlin", SPRING, 3) == [
        "03-31 03:00 +0200",
        "04-01 02:30 +0200",
        "04-02 02:30 +0200",
    ]


@pytest.mark.parametrize("ask", [times, one_by_one])
def test_several_that_do_not_exist_come_once_together(ask):
    assert ask("0,30 2,3 * * *", "Europe/Berlin", SPRING, 3) == [
        *("03-31 03:00 +0200", "03-31 03:30 +0200", "04-01 02:00 +0200"),
    ]


@pytest.mark.parametrize("ask", [times, one_by_one])
def test_a_time_that_exists_twice_comes_once(ask):
    assert ask("30 2 * * *", "Europe/Berlin", AUTUMN, 3) == [
        "10-27 02:30 +0200",
        "10-28 02:30 +0100",
        "10-29 02:30 +0100",
    ]


@pytest.mark.parametrize("now", ["2030-10-27T00:45:00+00:00", "2030-10-27T01:10:00+00:00", "2030-10-27T01:45:00+00:00"])
def test_it_does_not_come_again_for_whoever_asks_between_its_two_passes(now):
    assert times("30 2 * * *", "Europe/Berlin", now, 1) == ["10-28 02:30 +0100"]


@pytest.mark.parametrize("ask", [times, one_by_one])
def test_what_comes_every_hour_comes_every_hour(ask):
    """23 times on the short day, 25 times on the long one: an hour of waiting is an hour."""
    spring = ask("30 * * * *", "Europe/Berlin", "2030-03-31T00:00:00+00:00", 3)
    autumn = ask("30 * * * *", "Europe/Berlin", "2030-10-27T00:00:00+00:00", 3)

    assert spring == ["03-31 01:30 +0100", "03-31 03:30 +0200", "03-31 04:30 +0200"]
    assert autumn == ["10-27 02:30 +0200", "10-27 02:30 +0100", "10-27 03:30 +0100"]


def test_a_zone_that_moves_by_half_an_hour_is_no_exception():
    assert times("15 2 * * *", "Australia/Lord_Howe", "2030-10-05T00:00:00+00:00", 2) == [
        *("10-06 02:30 +1100", "10-07 02:15 +1100"),
    ]


@given(
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 (the zone is added below)
)
def test_a_daily_time_comes_once_on_every_day(hour, minute, zone, start):
    table = timetables.read(f"{minute} {hour} * * *", zone)

    found = list(islice(table.after(start.replace(tzinfo=UTC)), 400))

    days = [time.astimezone(table.zone).date() for time in found]
    assert [(later - day).days for day, later in pairwise(days)] == [1] * 399
    assert found == sorted(set(found))


# ── What is no expression, and no zone ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "Has 0 fields"),
        ("* * * *", "Has 4 fields"),
        ("*/5 * * * * *", "Has 6 fields"),  # seconds
        ("61 * * * *", "Bad minute"),
        ("0 24 * * *", "Bad hour"),
        ("0 0 32 * *", "Bad day-of-month"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 * 13 *", "Bad month"),
        ("0 0 * * 8", "Bad day-of-week"),
        ("*/0 * * * *", "Bad minute"),
        ("@fortnightly", "Has 1 fields"),
        ("@reboot", "Has 1 fields"),
        ("every day at noon please", "Bad minute"),
        ("０ 0 * * *", "ASCII"),
        ("0 0 * * * " + " " * 100, "At most 100"),
        ("0\0 0 * * *", "Bad minute"),
    ],
)
def test_what_is_no_expression_is_named_with_an_example(cron, said):
    with pytest.raises(InvalidRequest) as refused:
        timetables.read(cron, "UTC")

    (message,) = refused.value.fields["cron"]
    assert said in message
    assert "30 7 * * 1-5" in message


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("europe/berlin", "Did you mean Europe/Berlin?"),
        ("Europe/Berln", "Did you mean Europe/Berlin?"),
        ("Europe", "Not a name"),
        ("+02:00", "Example: Europe/Berlin"),
        ("", "Example"),
        ("../../etc/passwd", "Not a name"),
        ("/etc/localtime", "Not a name"),
        ("UTC\0", "Not a name"),
        ("x" * 10_000, "Example"),
    ],
)
def test_what_is_no_zone_is_named_with_one_that_is(zone, said):
    with pytest.raises(InvalidRequest) as refused:
        timetables.read("@daily", zone)

    assert said in refused.value.fields["time_zone"][0]


def test_both_are_named_together():
    with pytest.raises(InvalidRequest) as refused:
        timetables.read("never", "Nowhere/Land")

    assert refused.value.fields.keys() == {"cron", "time_zone"}


@given(st.text(max_size=30) | st.text("0123456789*/,-#LWMONJAF @", max_size=30))
def test_whatever_is_written_is_read_or_refused_and_nothing_else(cron):
    with suppress(InvalidRequest):
        next_at = timetables.read(cron, "UTC").next_after(at("2031-01-01T00:00:00+00:00"))
        assert next_at is None or next_at > at("2031-01-01T00:00:00+00:00")
