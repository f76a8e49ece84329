"""The view of the workers."""

from __future__ import annotations

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import shapes
from jobs.api.base import View
from jobs.api.schema import describe
from jobs.conf import tunables
from jobs.models import Worker

SHOWN = 1000
AGE = ExpressionWrapper(Now() - F("beat_at"), output_field=DurationField())


class WorkersView(View):
    @describe(
        id="listWorkers",
        summary="The workers: state, age of the heartbeat, jobs in flight",
        tag="operations",
        answers={200: ("WorkerList", "All of them, by name.")},
        problems={401: "token_not_valid"},
    )
    def get(self, request: Request) -> Response:
        rows = Worker.objects.annotate(age=AGE).order_by("name", "id")[:SHOWN]
        lease_seconds = tunables().lease_seconds
        return Response(shapes.WorkerList(results=[shapes.worker(row, lease_seconds=lease_seconds) for row in rows]))
