"""The admin: a window on jobs, schedules and workers, and the decision desk for dead letters.

Everything is read-only, but schedules have a brake, and addresses are put on the suppression list and taken off. What
people decide goes through the same functions that the API calls, for dead letters after a page that shows what it would
come to, and every row's result is reported.
"""

from jobs.admin.dead_letters import DeadLetterAdmin
from jobs.admin.schedules import ScheduleAdmin
from jobs.admin.suppressions import SuppressionAdmin
from jobs.admin.templates import TemplateAdmin
from jobs.admin.windows import DestinationAdmin, JobAdmin, WorkerAdmin

__all__ = [
    "DeadLetterAdmin",
    "DestinationAdmin",
    "JobAdmin",
    "ScheduleAdmin",
    "SuppressionAdmin",
    "TemplateAdmin",
    "WorkerAdmin",
]
