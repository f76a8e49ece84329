"""The admin: a window on jobs and workers, and the decision desk for dead letters.

Everything is read-only. What people decide goes through the same functions that the API calls, after a page that shows
what it would come to, and every row's result is reported.
"""

from jobs.admin.dead_letters import DeadLetterAdmin
from jobs.admin.templates import TemplateAdmin
from jobs.admin.windows import JobAdmin, WorkerAdmin

__all__ = ["DeadLetterAdmin", "JobAdmin", "TemplateAdmin", "WorkerAdmin"]
