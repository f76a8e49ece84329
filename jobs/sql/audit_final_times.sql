-- A job has the time of its end exactly when it has ended.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT id FROM jobs_job
    WHERE (finished_at IS NOT NULL) <> (status IN ('completed', 'failed', 'cancelled', 'expired'))
) AS v
