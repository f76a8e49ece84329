"""Accounts and tokens. An access token is checked by its signature alone; a refresh token is good for one use."""

from __future__ import annotations

from typing import Annotated, Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken

from jobs.api.base import OpenView
from jobs.api.parsers import read_shape
from jobs.api.schema import describe
from jobs.conf import tunables
from jobs.errors import InvalidRequest, Refused

MAX_USERNAME_CHARACTERS = 150  # as in Django's table
MAX_PASSWORD_CHARACTERS = 1024

Username = Annotated[str, Meta(min_length=1, max_length=MAX_USERNAME_CHARACTERS, examples=["ann"])]
Password = Annotated[str, Meta(min_length=1, max_length=MAX_PASSWORD_CHARACTERS, examples=["correct horse battery"])]


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asking."""

    username: Username
    password: Password


class RefreshRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refresh token, spent by this very request."""

    refresh_token: str


class Tokens(Struct, frozen=True, kw_only=True):
    """The access token goes into `Authorization: Bearer …`; the refresh token buys the next pair, once."""

    access_token: str
    refresh_token: str


class Unauthorized(Refused):
    """The username or the password is wrong."""

    status = 401
    code = "wrong_credentials"


class TokenRefused(Unauthorized):
    """This refresh token is expired, spent or not one of ours. Log in again."""

    code = "token_not_valid"


class SignupClosed(Refused):
    """Accounts are made by the people who run this installation."""

    status = 403
    code = "signup_closed"


class UsernameTaken(Refused):
    """Somebody has this username."""

    status = 409
    code = "username_taken"


# ── Views ─────────────────────────────────────────────────────────────────────────────────────


class SignupView(OpenView):
    @describe(
        id="signup",
        summary="Make an account, where SIGNUP_OPEN allows it",
        tag="accounts",
        request="Credentials",
        answers={201: ("Tokens", "The account exists, and this is its first pair of tokens.")},
        problems={400: "invalid", 403: "signup_closed", 409: "username_taken", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        if not tunables().signup_open:
            raise SignupClosed
        return _handed_out(sign_up(read_shape(request._request, Credentials)), status=201)


class LoginView(OpenView):
    @describe(
        id="login",
        summary="Tokens for a username and its password",
        tag="accounts",
        request="Credentials",
        answers={200: ("Tokens", "A fresh pair of tokens.")},
        problems={400: "invalid", 401: "wrong_credentials", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        return _handed_out(log_in(read_shape(request._request, Credentials)))


class RefreshView(OpenView):
    @describe(
        id="refreshToken",
        summary="The next pair of tokens; the refresh token sent is spent",
        tag="accounts",
        request="RefreshRequest",
        answers={200: ("Tokens", "The next pair.")},
        problems={400: "invalid", 401: "token_not_valid", 413: "too_large"},
    )
    def post(self, request: Request) -> Response:
        return _handed_out(rotate(read_shape(request._request, RefreshRequest).refresh_token))


def _handed_out(tokens: Tokens, *, status: int = 200) -> Response:
    """Tokens are for the caller alone, not for caches on the way (RFC 6749 §5.1)."""
    return Response(tokens, status=status, headers={"Cache-Control": "no-store"})


# ── What they do ──────────────────────────────────────────────────────────────────────────────


def sign_up(given: Credentials) -> Tokens:
    """A new user and its tokens. Raises InvalidRequest or UsernameTaken."""
    users = get_user_model()
    user = users(username=users.normalize_username(given.username))
    _check_username(user)
    _check_password(given.password, user)
    user.set_password(given.password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise UsernameTaken from None
    return tokens_for(user)


def log_in(given: Credentials) -> Tokens:
    """Raises Unauthorized: the same for no such user, a wrong password and an account that is switched off."""
    if "\0" in given.username:  # PostgreSQL cannot even be asked
        raise Unauthorized
    user = authenticate(username=given.username, password=given.password)
    if user is None:
        raise Unauthorized
    return tokens_for(user)


def rotate(raw: str) -> Tokens:
    """The next pair for a refresh token that nobody has used. Of two that come at once, one wins."""
    try:
        token = RefreshToken(raw)  # type: ignore[arg-type]
    except TokenError:
        raise TokenRefused from None
    user = get_user_model().objects.filter(pk=token[api_settings.USER_ID_CLAIM], is_active=True).first()
    if user is None:
        raise TokenRefused
    with transaction.atomic():
        row_and_is_new: Any = token.blacklist()  # UNIQUE decides
        if not row_and_is_new[1]:
            raise TokenRefused
        return tokens_for(user)


def tokens_for(user: Any) -> Tokens:
    refresh = RefreshToken.for_user(user)
    return Tokens(access_token=str(refresh.access_token), refresh_token=str(refresh))


def _check_username(user: Any) -> None:
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        raise InvalidRequest(
            f"username: {error.message_dict['username'][0]}", fields={"username": error.message_dict["username"]}
        ) from None


def _check_password(password: str, user: Any) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidRequest(f"password: {error.messages[0]}", fields={"password": error.messages}) from None
