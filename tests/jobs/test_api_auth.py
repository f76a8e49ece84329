import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connections
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendExpiredToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from jobs.api import auth, bearer
from jobs.conf import tunables
from tests.jobs.conftest import Caller

PASSWORD = "correct horse battery"
BODY = {"username": "ann", "password": PASSWORD}


@pytest.fixture(autouse=True)
def _quick_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def _open_signup(monkeypatch):
    from dataclasses import replace

    open_door = replace(tunables(), signup_open=True)
    monkeypatch.setattr(auth, "tunables", lambda: open_door)


@pytest.fixture
def ann(db):
    return User.objects.create_user("ann", password=PASSWORD)


# ── Log in ────────────────────────────────────────────────────────────────────────────────────


def test_the_tokens_of_a_login_open_the_doors(nobody, ann):
    answer = nobody.post("/login", BODY)

    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token"}
    assert answer["Cache-Control"] == "no-store"
    assert Caller(None, answer.json()["access_token"]).get("/jobs").status_code == 200


@pytest.mark.parametrize(
    "given", [{"password": "wrong"}, {"username": "bob"}, {"username": "a\0nn"}, {"password": "a\0b"}]
)
def test_wrong_credentials_are_refused_without_saying_which(nobody, ann, given):
    answer = nobody.post("/login", BODY | given)

    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_credentials")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_an_account_that_is_switched_off_gets_no_tokens(nobody, ann):
    User.objects.update(is_active=False)

    assert nobody.post("/login", BODY).status_code == 401


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"username", "password"}),
        ({"username": "ann"}, {"password"}),
        ({"username": 1, "password": ["x"]}, {"username", "password"}),
        (BODY | {"colour": "red"}, {"colour"}),
        ({"username": "", "password": "x"}, {"username"}),
        ({"username": "ann", "password": "x" * 2000}, {"password"}),
        ([], {"body"}),
    ],
)
def test_a_login_that_is_none_names_every_field(nobody, body, fields):
    answer = nobody.post("/login", body)

    assert (answer.status_code, set(answer.json()["errors"])) == (400, fields)


def test_a_large_body_is_refused_at_the_open_doors(nobody):
    assert nobody.post("/login", BODY | {"password": "x" * 600_000}).status_code == 413


# ── Refresh ───────────────────────────────────────────────────────────────────────────────────


def test_a_refresh_token_buys_one_pair_and_is_spent(nobody, ann):
    first = nobody.post("/login", BODY).json()

    second = nobody.post("/refreshToken", {"refresh_token": first["refresh_token"]})
    again = nobody.post("/refreshToken", {"refresh_token": first["refresh_token"]})
    third = nobody.post("/refreshToken", {"refresh_token": second.json()["refresh_token"]})

    assert (second.status_code, again.status_code, third.status_code) == (200, 401, 200)
    assert again.json()["code"] == "token_not_valid"
    assert Caller(None, third.json()["access_token"]).get("/jobs").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\0", "ü", "x" * 10_000])
def test_what_is_no_refresh_token_is_refused(nobody, token):
    assert nobody.post("/refreshToken", {"refresh_token": token}).status_code == 401


def test_an_access_token_refreshes_nothing(nobody, ann):
    assert nobody.post("/refreshToken", {"refresh_token": str(AccessToken.for_user(ann))}).status_code == 401


def test_an_expired_refresh_token_is_refused(nobody, ann):
    token = RefreshToken.for_user(ann)
    token.set_exp(lifetime=-timedelta(seconds=1))

    assert nobody.post("/refreshToken", {"refresh_token": str(token)}).status_code == 401


@pytest.mark.parametrize("change", [lambda: User.objects.update(is_active=False), lambda: User.objects.all().delete()])
def test_a_user_who_is_gone_gets_no_next_pair(nobody, ann, change):
    token = str(RefreshToken.for_user(ann))
    change()

    assert nobody.post("/refreshToken", {"refresh_token": token}).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_of_many_that_spend_one_refresh_token_at_once_one_wins():
    clients = 8
    ann = User.objects.create_user("ann", password=PASSWORD)
    token = str(RefreshToken.for_user(ann))
    start = Barrier(clients)

    def refresh(_: int) -> int:
        start.wait(30)
        try:
            return Caller(None).post("/refreshToken", {"refresh_token": token}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(clients) as pool:
        statuses = sorted(pool.map(refresh, range(clients)))

    assert statuses == [200] + [401] * (clients - 1)


# ── Access tokens ─────────────────────────────────────────────────────────────────────────────


def test_an_access_token_is_checked_without_asking_the_database(caller, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = caller.post("/addJob", {"type": "nonsense", "payload": {}})

    assert answer.status_code == 400  # past the token, refused for its type


@pytest.mark.parametrize("path", ["/jobs", "/failedJobs", "/workers", "/jobs/019b0000-0000-7000-8000-000000000000"])
@pytest.mark.parametrize("token", [None, "nonsense", "a.b.c"])
def test_without_a_good_token_the_doors_stay_shut(nobody, path, token):
    answer = Caller(None, token).get(path)

    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Basic YTpi", "Token x", "Bearer \xff"])
def test_an_authorization_header_of_another_kind_is_refused(nobody, header):
    answer = nobody.get("/jobs", Authorization=header)

    assert answer.status_code == 401


def test_an_expired_access_token_is_refused(nobody, ann):
    token = AccessToken.for_user(ann)
    token.set_exp(lifetime=-timedelta(seconds=1))

    answer = Caller(None, str(token)).get("/jobs")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")


def test_a_token_that_was_good_is_refused_once_it_has_expired(nobody, ann, monkeypatch):
    caller = Caller(None, str(AccessToken.for_user(ann)))
    assert caller.get("/jobs").status_code == 200

    monkeypatch.setattr(bearer, "time", lambda: time.time() + 86_400)
    monkeypatch.setattr(TokenBackend, "decode", refuse_as_expired)
    answer = caller.get("/jobs")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")


def test_a_signature_is_looked_at_once(nobody, ann, monkeypatch):
    caller = Caller(None, str(AccessToken.for_user(ann)))
    assert caller.get("/jobs").status_code == 200
    monkeypatch.setattr(TokenBackend, "decode", refuse_as_expired)

    assert caller.get("/jobs").status_code == 200
    assert Caller(None, str(AccessToken.for_user(ann))).get("/jobs").status_code == 401


def refuse_as_expired(*args, **kwargs):
    raise TokenBackendExpiredToken("Token is expired")


def test_a_refresh_token_opens_no_door(nobody, ann):
    assert Caller(None, str(RefreshToken.for_user(ann))).get("/jobs").status_code == 401


def test_a_token_that_names_no_user_number_is_refused(nobody):
    token = AccessToken()
    token["user_id"] = "somebody"

    assert Caller(None, str(token)).get("/jobs").status_code == 401


# ── Sign up ───────────────────────────────────────────────────────────────────────────────────


def test_signup_is_closed_unless_opened(nobody):
    answer = nobody.post("/signup", BODY)

    assert (answer.status_code, answer.json()["code"]) == (403, "signup_closed")
    assert not User.objects.exists()


@pytest.mark.usefixtures("_open_signup")
def test_a_new_account_gets_its_first_tokens_and_can_log_in(nobody):
    answer = nobody.post("/signup", BODY)

    assert answer.status_code == 201
    assert Caller(None, answer.json()["access_token"]).get("/jobs").status_code == 200
    assert nobody.post("/login", BODY).status_code == 200
    assert not User.objects.get().is_staff


@pytest.mark.usefixtures("_open_signup")
def test_a_username_is_given_once(nobody, ann):
    answer = nobody.post("/signup", BODY)

    assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")


@pytest.mark.usefixtures("_open_signup")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"password": "short"}, "password"),
        ({"password": "password1"}, "password"),
        ({"password": "8237465019"}, "password"),
        ({"username": "annabella", "password": "annabella1"}, "password"),
        ({"username": "a nn"}, "username"),
        ({"username": "a\0nn"}, "username"),
        ({"username": "a" * 151}, "username"),
        ({"username": ""}, "username"),
    ],
)
def test_a_signup_that_will_not_do_names_its_field(nobody, given, field):
    answer = nobody.post("/signup", BODY | given)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not User.objects.exists()
