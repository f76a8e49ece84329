"""Old rows are such as work leaves behind, and only as many are laid as the disk can hold."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from benchmarks import growth, old_rows
from benchmarks.rounds import Series
from jobs.audit import read_books
from jobs.models import Attempt, DeadLetter, Delivery, Job


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_old_rows_balance_and_leave_the_tables_as_they_were():
    owner = get_user_model().objects.create(username="bench")
    url = psycopg.conninfo.make_conninfo(**_parameters())
    with psycopg.connect(url, autocommit=True) as own:
        before = old_rows.defined(own)

    old_rows.lay(url, 1000, owner=owner.pk)

    with psycopg.connect(url, autocommit=True) as own:
        assert old_rows.defined(own) == before
    books = read_books()
    assert books.is_balanced
    assert {status: count for status, count in books.counts.items() if count} == {"completed": 990, "failed": 10}
    assert Delivery.objects.filter(state="sent").count() == 990
    assert Attempt.objects.count() == 1000
    assert DeadLetter.objects.filter(resolution=None).count() == 5
    ids = list(Job.objects.order_by("created_at").values_list("id", flat=True))
    assert ids == sorted(ids)


def _parameters():
    settings = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {parameter: settings[name] for name, parameter in names.items()}


def test_sizes_beyond_the_disk_are_left_out_and_told(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(growth.shutil, "disk_usage", lambda _: usage(free=3_000_000 * old_rows.BYTES_EACH))
    series = Series("growth", "jobs/s")

    sizes = growth._that_fit(SimpleNamespace(folder="."), [0, 1_000_000, 10_000_000], series)

    assert list(sizes) == [0, 1_000_000]
    assert series.notes == ["10,000,000 old rows: not measured. They need 19 GiB of disk, and 4 are free."]
