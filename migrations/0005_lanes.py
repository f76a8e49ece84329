from django.db import migrations, models


class Migration(migrations.Migration):
    """Jobs that need a process each wait apart from those that only talk to others. A default in the database: an API
    that still runs the code of before inserts jobs without a lane."""

    dependencies = [("jobs", "0004_lighter_rows")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="lane",
            field=models.TextField(choices=[("messages", "messages"), ("tasks", "tasks")], db_default="messages"),
        ),
        migrations.RemoveIndex(model_name="job", name="job_waiting"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["lane", "priority", "pushed_at"], name="job_waiting"
            ),
        ),
    ]
