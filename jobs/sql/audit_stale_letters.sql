-- An open dead letter asks about what still is so: its job is failed; for `unknown`, unknown under that very claim.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT l.id FROM jobs_deadletter AS l JOIN jobs_job AS j ON j.id = l.job_id
    LEFT JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash
    WHERE l.resolution IS NULL
      AND (CASE WHEN l.reason = 'unknown' THEN j.status = 'unknown' AND j.held_behind IS NULL AND d.claim = l.claim
                ELSE j.status = 'failed' END) IS NOT TRUE
) AS v
