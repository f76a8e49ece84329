"""The API's addresses. None ends in a slash."""

from __future__ import annotations

from django.urls import path

from jobs.api import (
    auth,
    batches,
    bulk_decisions,
    dead_letters,
    destinations,
    events,
    jobs,
    schedules,
    suppressions,
    templates,
    unsubscribe,
    workers,
)

urlpatterns = [
    path("jobs", jobs.JobsView.as_view(), name="jobs"),  # first: they are tried one after the other
    path("signup", auth.SignupView.as_view(), name="signup"),
    path("login", auth.LoginView.as_view(), name="login"),
    path("refreshToken", auth.RefreshView.as_view(), name="refresh_token"),
    path("addJob", jobs.AddJobView.as_view(), name="add_job"),
    path("submit_job", jobs.SubmitJobView.as_view(), name="submit_job"),
    path("jobs/batch", batches.BatchesView.as_view(), name="create_batch"),
    path("batches/<uuid:id>", batches.BatchView.as_view(), name="batch"),
    path("jobs/<uuid:id>", jobs.JobView.as_view(), name="job"),
    path("jobs/<uuid:id>/events", events.EventsView.as_view(), name="job_events"),
    path("jobs/<uuid:id>/cancel", jobs.CancelJobView.as_view(), name="cancel_job"),
    path("failedJobs", dead_letters.DeadLettersView.as_view(), name="dead_letters"),
    path("failedJobs/redrive", bulk_decisions.RedriveView.as_view(), name="redrive"),
    path("failedJobs/discard", bulk_decisions.DiscardManyView.as_view(), name="discard_many"),
    path("failedJobs/resolve", bulk_decisions.ResolveManyView.as_view(), name="resolve_many"),
    path("failedJobs/<int:id>", dead_letters.DeadLetterView.as_view(), name="dead_letter"),
    path("failedJobs/<int:id>/requeue", dead_letters.RequeueView.as_view(), name="requeue"),
    path("failedJobs/<int:id>/discard", dead_letters.DiscardView.as_view(), name="discard"),
    path("failedJobs/<int:id>/resolve", dead_letters.ResolveView.as_view(), name="resolve"),
    path("destinations", destinations.DestinationsView.as_view(), name="destinations"),
    path("destinations/<str:name>", destinations.DestinationView.as_view(), name="destination"),
    path("schedules", schedules.SchedulesView.as_view(), name="schedules"),
    path("schedules/<uuid:id>", schedules.ScheduleView.as_view(), name="schedule"),
    path("schedules/<uuid:id>/pause", schedules.PauseScheduleView.as_view(), name="pause_schedule"),
    path("schedules/<uuid:id>/resume", schedules.ResumeScheduleView.as_view(), name="resume_schedule"),
    path("suppressions", suppressions.SuppressionsView.as_view(), name="suppressions"),
    path("suppressions/<path:address>", suppressions.SuppressionView.as_view(), name="suppression"),
    path("unsubscribe/<str:token>", unsubscribe.UnsubscribeView.as_view(), name="unsubscribe"),
    path("templates", templates.TemplatesView.as_view(), name="templates"),
    path("templates/<str:name>", templates.TemplateView.as_view(), name="template"),
    path("templates/<str:name>/versions", templates.VersionsView.as_view(), name="template_versions"),
    path("templates/<str:name>/preview", templates.PreviewView.as_view(), name="template_preview"),
    path("workers", workers.WorkersView.as_view(), name="workers"),
]
