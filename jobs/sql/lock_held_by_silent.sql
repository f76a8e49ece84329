-- Rescue, step 1: lock the running jobs of workers that are (still) silent. Others skip them.
SELECT j.id, j.claim, j.worker, j.dedupe_hash, j.in_doubt, j.attempts, j.max_attempts, j.deaths, j.priority
FROM jobs_job AS j
WHERE j.status = 'running' AND j.worker = ANY(%(workers)s::uuid[])
  AND NOT EXISTS (SELECT FROM jobs_worker AS w
                  WHERE w.id = j.worker AND w.beat_at >= now() - make_interval(secs => %(lease)s::float8))
ORDER BY j.worker, j.id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
