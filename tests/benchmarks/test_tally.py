"""What several processes have done is added up."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import tally
from benchmarks.ground import ROOT

WORK = """
import sys; from pathlib import Path; from benchmarks.tally import Tally
tally = Tally(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])): tally.begin(); tally.done()
"""


def test_counts_of_all_processes_from_the_first_beginning_to_the_last_end(tmp_path):
    for count in ("3", "0", "4"):
        subprocess.run([sys.executable, "-c", WORK, tmp_path, count], cwd=ROOT, check=True)

    found = tally.read(tmp_path)

    assert found.count == 7
    assert found.first < found.last
    assert found.rate == 7 / (found.last - found.first)


def test_nothing_done_is_no_rate(tmp_path):
    assert (tally.read(tmp_path).count, tally.read(tmp_path).rate) == (0, 0.0)
