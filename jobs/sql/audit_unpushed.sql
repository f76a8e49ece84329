-- A queued job was pushed at some time, else the reconciler would never find it.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT id FROM jobs_job WHERE status = 'queued' AND pushed_at IS NULL
) AS v
