import os

import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

from tests.servers_plugin import redis_url_of


@pytest.mark.django_db
def test_the_tests_run_on_a_real_postgresql_of_the_version_we_ship():
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]

    assert int(version.split(".")[0]) >= 17


def test_the_settings_name_the_valkey_of_this_session():
    assert settings.SENDONCE["redis_url"] == os.environ["REDIS_URL"]
    with Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert client.ping()


def test_each_xdist_worker_has_a_logical_database_of_its_own():
    urls = {redis_url_of(f"gw{number}", "redis://:pw@127.0.0.1:7000/0") for number in range(4)}

    assert urls == {f"redis://:pw@127.0.0.1:7000/{number}" for number in (1, 2, 3, 4)}
