from django.db import migrations, models


class Migration(migrations.Migration):
    """A job that goes well moves three times, and each time every index without a condition takes a new entry of it. A
    delivery's two moves find room on the page where it stands, and leave its index and nothing for vacuum."""

    dependencies = [("jobs", "0003_batches")]

    operations = [
        migrations.RemoveIndex(model_name="job", name="job_of_owner_by_status"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("status__in", ["cancelled", "expired", "failed", "scheduled", "unknown"])),
                fields=["owner", "status", "-id"],
                name="job_of_owner_by_status",
            ),
        ),
        migrations.RunSQL(
            "ALTER TABLE jobs_delivery SET (fillfactor = 70)", "ALTER TABLE jobs_delivery RESET (fillfactor)"
        ),
    ]
