"""Imported by the process from which handlers' processes are forked (multiprocessing's forkserver): all share one Django."""

import django

django.setup()
