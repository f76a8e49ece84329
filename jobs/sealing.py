"""Secrets at rest: encrypted with SEALING_KEYS, by Fernet (the `cryptography` library's authenticated encryption).

The first key encrypts, all of them decrypt; so keys are rotated by putting a new one in front.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING

from jobs.conf import tunables

if TYPE_CHECKING:  # 6 MB, for whoever has something to seal or to open
    from cryptography.fernet import MultiFernet

PURPOSE = b"sendonce destinations"


class CannotOpen(Exception):
    """None of the keys opens this."""


def seal(plain: bytes) -> bytes:
    """`plain`, encrypted; another text each time."""
    return _box(tunables().sealing_keys).encrypt(plain)


def open_(sealed: bytes | memoryview) -> bytes:
    """What was sealed. Raises CannotOpen when its key is none of ours, or a bit of it was changed."""
    from cryptography.fernet import InvalidToken

    try:
        return _box(tunables().sealing_keys).decrypt(bytes(sealed))
    except InvalidToken:
        raise CannotOpen from None


@cache
def _box(secrets: tuple[str, ...]) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(_key(secret)) for secret in secrets])


def _key(secret: str) -> bytes:
    """32 bytes from a secret of any length (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return base64.urlsafe_b64encode(derived)
