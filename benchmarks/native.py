"""What a program in C can do that stores nothing and promises nothing: `smtp-source -d` of postfix, where it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks import tally
from benchmarks.drains import Wrong
from benchmarks.ground import Ground
from benchmarks.letter import TEXT
from benchmarks.rounds import Figures

NAME = "smtp-source -d"
SESSIONS = 64  # as many as a worker of ours opens by default
NOT_INSTALLED = f"{NAME}: not installed. On Debian it comes with postfix."
WHERE_DEBIAN_HAS_IT = "/usr/sbin"


def program() -> str | None:
    return shutil.which("smtp-source", path=os.pathsep.join([os.environ.get("PATH", ""), WHERE_DEBIAN_HAS_IT]))


def smtp_source(ground: Ground, path: str, *, count: int) -> Figures:
    """Mails a second with bodies as long as everybody's, from the first MAIL that the sink hears to the last that it
    takes."""
    with ground.sink() as (port, book):
        command = [path, "-d", "-N", "-s", str(SESSIONS), "-m", str(count), "-l", str(len(TEXT.encode()))]
        addresses = ["-f", "shop@example.org", "-t", "customer@example.org"]
        ground.finish("smtp-source", [*command, *addresses, f"127.0.0.1:{port}"], env=dict(os.environ))
        return _figures(book, count)


def _figures(book: Path, count: int) -> Figures:
    done = tally.read(book)
    if done.count != count:
        raise Wrong(f"{NAME}: {done.count} of {count} mails arrived.")
    return Figures(done.rate)
