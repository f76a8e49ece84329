-- K1: a delivery in `claimed` or `dot` has its job running under the same claim.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT d.job_id AS id FROM jobs_delivery AS d LEFT JOIN jobs_job AS j ON j.id = d.job_id
    WHERE d.state IN ('claimed', 'dot')
      AND (j.status = 'running' AND j.claim = d.claim AND j.dedupe_hash = d.dedupe_hash) IS NOT TRUE
) AS v
