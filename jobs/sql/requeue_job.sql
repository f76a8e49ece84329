-- A dead job gets a new budget. Guard: failed, and not for a reason that only `resolve` may answer (trace 11).
UPDATE jobs_job AS j SET
    status = 'queued', attempts = 0, deaths = 0, finished_at = NULL, last_error = NULL, run_at = now(),
    pushed_at = now(), updated_at = now()
FROM jobs_deadletter AS l
WHERE l.id = %(dead_letter)s AND l.resolution IS NULL AND l.reason NOT IN ('unknown', 'dropped')
  AND j.id = l.job_id AND j.status || '' = 'failed' AND j.payload IS NOT NULL
RETURNING j.id, j.priority
