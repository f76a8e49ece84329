"""A silent name server: how long glibc waits for one is set before anybody looks up a name."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "__res_state"), reason="RES_OPTIONS is glibc's")

# The first two fields of glibc's `struct __res_state` (resolv.h): seconds before the first repetition, and how many
# rounds there are in all.
PROGRAM = """
import ctypes
from django.conf import settings
settings.DATABASES
libc = ctypes.CDLL(None)
libc.__res_init()
libc.__res_state.restype = ctypes.POINTER(ctypes.c_int * 2)
print(*libc.__res_state().contents)
"""


def waits_for_a_name_server(**environment: str) -> tuple[int, int]:
    known = {name: value for name, value in os.environ.items() if name != "RES_OPTIONS"}
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, env=known | environment, check=True, capture_output=True, text=True)
    seconds, rounds = ran.stdout.split()
    return int(seconds), int(rounds)


def test_a_second_and_once_more():
    assert waits_for_a_name_server() == (1, 2)


def test_what_the_operator_set_stands():
    assert waits_for_a_name_server(RES_OPTIONS="timeout:3 attempts:4") == (3, 4)
