-- Held jobs whose key is no longer unknown → queued (level-triggered: trace 8).
WITH woken AS (
    SELECT j.id FROM jobs_job AS j
    JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash
    WHERE j.status = 'unknown' AND j.held_behind IS NOT NULL AND d.state NOT IN ('unknown', 'dropped')
    ORDER BY j.id
    LIMIT %(limit)s
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job AS j SET
    status = 'queued', held_behind = NULL, result = NULL, attempts = greatest(j.attempts - 1, 0),
    pushed_at = now(), updated_at = now()
FROM woken WHERE j.id = woken.id
RETURNING j.id, j.priority
