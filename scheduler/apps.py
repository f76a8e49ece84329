from django.apps import AppConfig
from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import reset_queries


class SchedulerConfig(AppConfig):
    name = "scheduler"

    def ready(self) -> None:
        """What Django does around each request for caches, which we have none of, and for a record of queries, which
        it keeps in DEBUG only."""
        request_finished.disconnect(close_caches)
        if not settings.DEBUG:
            request_started.disconnect(reset_queries)
