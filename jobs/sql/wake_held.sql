-- Held jobs whose key is no longer unknown → queued (level-triggered: trace 8).
-- The key is looked up job by job: a join would read whole tables when many are held.
WITH woken AS (
    SELECT j.id FROM jobs_job AS j
    WHERE j.status = 'unknown' AND j.held_behind IS NOT NULL
      AND coalesce((SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash), 'released')
          NOT IN ('unknown', 'dropped')
    ORDER BY j.dedupe_hash
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job AS j SET
    status = 'queued', held_behind = NULL, result = NULL, attempts = greatest(j.attempts - 1, 0),
    pushed_at = now(), updated_at = now()
WHERE j.id = ANY(ARRAY(SELECT id FROM woken))
RETURNING j.id, j.priority, j.lane
