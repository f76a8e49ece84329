-- The oldest waiting jobs of one lane and priority, for workers that cannot ask Redis (I2).
-- Locked for the claim that follows in the same transaction; others skip them.
SELECT id FROM jobs_job
WHERE status = 'queued' AND lane = %(lane)s AND priority = %(priority)s
ORDER BY pushed_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
