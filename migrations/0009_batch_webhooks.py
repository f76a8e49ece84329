from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0008_templates"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="told_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="told_by",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="untold_because",
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="webhook",
            field=models.TextField(null=True),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=models.Q(("told_at__isnull", True), ("webhook__isnull", False)),
                fields=["id"],
                name="batch_untold",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    ("batch_id__isnull", False), ("status__in", ["queued", "running", "scheduled", "unknown"])
                ),
                fields=["batch_id"],
                name="job_of_batch_under_way",
            ),
        ),
    ]
