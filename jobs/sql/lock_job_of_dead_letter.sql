-- The job first, before its delivery is looked at in a later statement (trace 2).
SELECT j.id FROM jobs_job AS j
WHERE j.id = (SELECT job_id FROM jobs_deadletter WHERE id = %(dead_letter)s)
FOR UPDATE
