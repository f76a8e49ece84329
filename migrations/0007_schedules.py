import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Jobs that are made again and again. A table of its own: none of the others is touched."""

    dependencies = [
        ("jobs", "0006_destinations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                ("cron", models.TextField()),
                ("time_zone", models.TextField()),
                ("missed", models.TextField(choices=[("skip", "skip"), ("once", "once"), ("all", "all")])),
                ("type", models.TextField()),
                ("payload", models.JSONField()),
                ("options", models.JSONField(default=dict)),
                ("next_at", models.DateTimeField(null=True)),
                ("last_at", models.DateTimeField(null=True)),
                ("last_job_id", models.UUIDField(null=True)),
                ("paused", models.BooleanField(default=False)),
                ("pause_reason", models.TextField(db_default="")),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["owner", "-id"], name="schedule_of_owner"),
                    models.Index(condition=models.Q(("paused", False)), fields=["next_at"], name="schedule_due"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "name"), name="schedule_name_of_owner"),
                    models.CheckConstraint(
                        condition=models.Q(("missed__in", ["skip", "once", "all"])), name="schedule_missed_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_at__isnull", True), ("paused", True)),
                            models.Q(("next_at__isnull", False), ("paused", False)),
                            _connector="OR",
                        ),
                        name="schedule_has_a_time_or_rests",
                    ),
                ],
            },
        ),
    ]
