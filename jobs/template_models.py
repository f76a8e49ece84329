"""The tables of stored templates. Versions are only ever added: what a job was written from can be read later."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from jobs.prints import Need, Sources


class Template(models.Model):
    """A name of an owner's, under which versions are kept."""

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.TextField()
    newest = models.PositiveIntegerField()  # the number of the version that is used when none is named
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=("owner", "name"), name="template_name"),)
        indexes = (models.Index(fields=("owner", "-id"), name="template_of_owner"),)

    def __str__(self) -> str:
        return self.name


class TemplateVersion(models.Model):
    """What a template said from one day to another. Never changed."""

    id = models.BigAutoField(primary_key=True)
    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()  # from 1
    subject = models.TextField()
    text = models.TextField(null=True)
    html = models.TextField(null=True)
    example = models.JSONField(default=dict)  # variables for a preview
    needs = models.JSONField(default=list)  # `Need`s, as they were found when it was added
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=("template", "number"), name="template_version_number"),)

    def __str__(self) -> str:
        return f"version {self.number}"

    @property
    def sources(self) -> Sources:
        return Sources(subject=self.subject, text=self.text, html=self.html)

    @property
    def variables(self) -> list[Need]:
        return [Need(path=tuple(need["path"]), required=need["required"]) for need in self.needs]
