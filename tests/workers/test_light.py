"""A worker holds what every worker needs: libraries that few jobs want are loaded by the first of these."""

from __future__ import annotations

import subprocess
import sys

from tests.journeys.platform import ROOT

HEAVY = [
    "anymail",
    "apprise",
    "cryptography.fernet",
    "google.protobuf",
    "httpcore",
    "jobs.spans",
    "liquid",
    "lxml",
    "pebble",
    "requests",
    "rest_framework",
]
LOADED = f"""
import sys
sys.argv = ["manage.py", "run_worker"]
import django
django.setup()
import workers.worker, workers.channels.registry
workers.channels.registry.channels()
print(*[name for name in {HEAVY} if name in sys.modules])
"""


def test_what_few_jobs_want_is_not_loaded_with_the_worker():
    loaded = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, check=True, capture_output=True, text=True)

    assert loaded.stdout.split() == []
