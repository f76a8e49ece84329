-- Dead jobs get a new budget. Guard: failed, undecided, not for a reason that only `resolve` may answer (trace 11), and
-- the key is free. Missing rows: decided or expired meanwhile, or a rival has taken the key.
UPDATE jobs_job AS j SET
    status = 'queued', attempts = 0, deaths = 0, finished_at = NULL, last_error = NULL, run_at = now(),
    pushed_at = now(), updated_at = now()
FROM jobs_deadletter AS l
WHERE l.id = ANY(%(dead_letters)s::bigint[]) AND coalesce(l.resolution, '') = ''
  AND l.reason NOT IN ('unknown', 'dropped')
  AND j.id = l.job_id AND j.status || '' = 'failed' AND j.payload IS NOT NULL
  AND (j.expires_at < now()) IS NOT TRUE
  AND coalesce((SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash), 'released') = 'released'
RETURNING l.id AS dead_letter
