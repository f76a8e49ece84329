"""What is sealed is opened by its keys, and by no others."""

from __future__ import annotations

import pytest

from jobs import sealing


def test_what_is_sealed_shows_nothing_and_is_opened_again(tunables):
    tunables(sealing_keys=("one",))

    sealed = sealing.seal(b"whsec_secret")

    assert b"secret" not in sealed
    assert sealing.seal(b"whsec_secret") != sealed
    assert sealing.open_(sealed) == sealing.open_(memoryview(sealed)) == b"whsec_secret"


def test_keys_are_rotated_by_putting_a_new_one_in_front(tunables):
    tunables(sealing_keys=("old",))
    before = sealing.seal(b"x")
    tunables(sealing_keys=("new", "old"))
    after = sealing.seal(b"x")

    assert sealing.open_(before) == sealing.open_(after) == b"x"
    tunables(sealing_keys=("new",))
    assert sealing.open_(after) == b"x"
    with pytest.raises(sealing.CannotOpen):
        sealing.open_(before)


def test_a_changed_bit_is_noticed(tunables):
    sealed = bytearray(sealing.seal(b"x"))
    sealed[20] ^= 1

    with pytest.raises(sealing.CannotOpen):
        sealing.open_(bytes(sealed))
