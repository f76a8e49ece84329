"""`manage.py run_worker` with a renderer that takes the whole process down when it meets a certain subject, as one
that eats all memory does: no exception, no last words."""

from __future__ import annotations

import os
import runpy
import signal
import sys

from workers.channels import letter

POISON = "Poison"

write = letter.write


def write_or_die(claim):
    if claim.payload.get("subject") == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(claim)


if __name__ == "__main__":
    letter.write = write_or_die
    sys.argv = ["manage.py", "run_worker", *sys.argv[1:]]
    runpy.run_path("manage.py", run_name="__main__")
