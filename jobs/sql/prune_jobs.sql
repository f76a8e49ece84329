-- Then the jobs, with their history: ended ones by age, dead ones only once decided. Their `sent` rows stay.
WITH old AS (
    SELECT id FROM jobs_job AS j
    WHERE finished_at < now() - make_interval(days => %(days)s::int)
      AND NOT idempotency_open
      AND (status IN ('completed', 'cancelled', 'expired')
           OR finished_at < now() - make_interval(days => %(decided_days)s::int))
      AND NOT EXISTS (SELECT FROM jobs_deadletter AS l WHERE l.job_id = j.id AND
                      (l.resolution IS NULL OR l.resolved_at > now() - make_interval(days => %(decided_days)s::int)))
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), history AS (
    DELETE FROM jobs_attempt WHERE job_id = ANY(ARRAY(SELECT id FROM old))
), events AS (
    DELETE FROM jobs_event WHERE job_id = ANY(ARRAY(SELECT id FROM old))
), letters AS (
    DELETE FROM jobs_deadletter WHERE job_id = ANY(ARRAY(SELECT id FROM old))
)
DELETE FROM jobs_job WHERE id = ANY(ARRAY(SELECT id FROM old))
RETURNING id
