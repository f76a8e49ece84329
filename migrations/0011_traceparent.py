from django.db import migrations, models


class Migration(migrations.Migration):
    """Jobs remember the trace that they were accepted in. A nullable column without a default: no row is rewritten."""

    dependencies = [("jobs", "0010_history_by_provider")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="traceparent",
            field=models.TextField(null=True),
        ),
    ]
