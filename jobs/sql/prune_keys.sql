-- Idempotency keys past their window may be used again. That a message was sent is not forgotten by this.
UPDATE jobs_job SET idempotency_open = false
WHERE id = ANY(ARRAY(
    SELECT id FROM jobs_job
    WHERE idempotency_open AND created_at < now() - make_interval(hours => %(hours)s::int)
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
RETURNING id
