-- A held job waits for another one (trace 11). That it was not woken yet is no error.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT id FROM jobs_job WHERE held_behind = id
) AS v
