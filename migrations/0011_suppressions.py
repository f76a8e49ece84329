import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Addresses that get no more mail, and the dead letters of jobs that had no others."""

    dependencies = [
        ("jobs", "0009_batch_webhooks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Suppression",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("address", models.TextField(db_collation="C")),
                ("topic", models.TextField(db_default="")),
                (
                    "reason",
                    models.TextField(
                        choices=[
                            ("manual", "manual"),
                            ("hard_bounce", "hard bounce"),
                            ("complaint", "complaint"),
                            ("unsubscribe", "unsubscribe"),
                        ]
                    ),
                ),
                ("detail", models.TextField(db_default="")),
                ("job_id", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField()),
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
                    models.Index(
                        condition=models.Q(("id__gt", 0)), fields=["owner", "-id"], name="suppression_of_owner"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "address", "topic"), name="suppression_once"),
                    models.CheckConstraint(
                        condition=models.Q(("reason__in", ["manual", "hard_bounce", "complaint", "unsubscribe"])),
                        name="suppression_reason_known",
                    ),
                ],
            },
        ),
        migrations.RemoveConstraint(model_name="deadletter", name="deadletter_reason_known"),
        migrations.AlterField(
            model_name="deadletter",
            name="reason",
            field=models.TextField(
                choices=[
                    ("permanent", "permanent"),
                    ("exhausted", "exhausted"),
                    ("worker_lost", "worker lost"),
                    ("invalid", "invalid"),
                    ("unknown", "unknown"),
                    ("dropped", "dropped"),
                    ("suppressed", "suppressed"),
                ]
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletter",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "reason__in",
                        ["permanent", "exhausted", "worker_lost", "invalid", "unknown", "dropped", "suppressed"],
                    )
                ),
                name="deadletter_reason_known",
            ),
        ),
    ]
