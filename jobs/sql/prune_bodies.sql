-- Bodies of jobs that ended well, or that nobody waits for, go first.
UPDATE jobs_job SET payload = NULL, recipients = '[]'::jsonb
WHERE id = ANY(ARRAY(
    SELECT id FROM jobs_job
    WHERE payload IS NOT NULL AND status || '' IN ('completed', 'cancelled', 'expired')
      AND finished_at < now() - make_interval(days => %(days)s::int)
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
RETURNING id
