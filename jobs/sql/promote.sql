-- Scheduled and due → queued. Any number of clocks at once: they skip each other's rows.
-- ANY(ARRAY(…)): the planner does not know the limit and would otherwise read the whole table for a large backlog.
WITH due AS (
    SELECT id FROM jobs_job
    WHERE status = 'scheduled' AND run_at <= now()
    ORDER BY run_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job AS j SET status = 'queued', pushed_at = now(), updated_at = now()
WHERE j.id = ANY(ARRAY(SELECT id FROM due))
RETURNING j.id, j.priority, j.lane
