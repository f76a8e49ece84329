"""Bearer tokens: simplejwt's, whose signature is looked at once and whose age with every request."""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from time import time

from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.tokens import Token

REMEMBERED = 4096  # tokens


class BearerToken(JWTStatelessUserAuthentication):
    """Each token is checked by its signature alone, without asking the database."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Raises InvalidToken, which is not remembered: who tries tokens out fills nothing."""
        token = copy(_verified(raw_token))
        token.payload = dict(token.payload)  # one request's own
        if token.payload["exp"] <= time():
            return super().get_validated_token(raw_token)  # refuses it in the usual words
        return token


@lru_cache(maxsize=REMEMBERED)
def _verified(raw_token: bytes) -> Token:
    return JWTStatelessUserAuthentication().get_validated_token(raw_token)
