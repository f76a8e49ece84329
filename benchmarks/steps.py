"""Rounds that take a mail apart: processor time of each step, next to the least that it can cost here."""

from __future__ import annotations

import json
import sys

from benchmarks.contenders import Place, ours
from benchmarks.ground import ROOT, Ground
from benchmarks.ours.steps import BATCH
from benchmarks.rounds import Figures

ALL = "all steps together"


def steps(ground: Ground, *, mails: int) -> dict[str, Figures]:
    """Microseconds a mail, of the worker's process and of PostgreSQL together; each by itself stands beside it."""
    with ground.sink() as (port, book), ground.fresh_database(migrated=True) as database:
        place = Place(ground, database, smtp_port=port, folder=book)
        contender = ours("send")
        contender.lay_jobs(place, mails + BATCH)  # the first ones only warm
        options = [str(mails), "--postgres", str(ground.postgres.pid)]
        program = [sys.executable, "-m", "benchmarks.ours.steps", *options]
        log = ground.folder / "logs" / "steps.log"
        log.unlink(missing_ok=True)
        ground.finish("steps", program, env=place.env | {"PYTHONPATH": str(ROOT)})
        ground.manage("audit", database=database)
        found = json.loads(log.read_text().splitlines()[-1])
    own = [spent for step, spent in found.items() if not step.startswith(("floor of", "beside"))]
    found[ALL] = {who: sum(spent[who] for spent in own) for who in own[0]}
    return {step: Figures(sum(spent.values()), {"us_per_job": spent}) for step, spent in found.items()}
