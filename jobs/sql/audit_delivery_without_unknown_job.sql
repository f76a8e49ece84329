-- K2: a delivery in `unknown` has its job unknown, and not merely held.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT d.job_id AS id FROM jobs_delivery AS d LEFT JOIN jobs_job AS j ON j.id = d.job_id
    WHERE d.state = 'unknown'
      AND (j.status = 'unknown' AND j.held_behind IS NULL AND j.dedupe_hash = d.dedupe_hash) IS NOT TRUE
) AS v
