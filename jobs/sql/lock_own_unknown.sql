-- Own sweep, step 1: my running jobs whose claim I do not remember (its answer was lost; trace 6).
SELECT j.id, j.claim, j.worker, j.dedupe_hash, j.in_doubt, j.attempts, j.max_attempts, j.deaths, j.priority
FROM jobs_job AS j
WHERE j.status = 'running' AND j.worker = %(worker)s AND j.claim = ANY(%(claims)s::bigint[])
ORDER BY j.id
FOR UPDATE SKIP LOCKED
