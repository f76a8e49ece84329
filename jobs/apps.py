from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from jobs import checks, types  # noqa: F401 - checks registers itself; models and settings are ready only here

        types.discover()
