-- Every job stands in exactly one status that we know.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT id FROM jobs_job
    WHERE status NOT IN ('scheduled', 'queued', 'running', 'completed', 'failed', 'unknown', 'cancelled', 'expired')
) AS v
