-- An unknown that is not merely held can be decided: an open dead letter names the very claim of its delivery.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j
    WHERE j.status = 'unknown' AND j.held_behind IS NULL
      AND NOT EXISTS (
          SELECT FROM jobs_delivery AS d JOIN jobs_deadletter AS l ON l.job_id = d.job_id AND l.claim = d.claim
          WHERE d.dedupe_hash = j.dedupe_hash AND d.job_id = j.id AND d.state = 'unknown'
            AND l.reason = 'unknown' AND l.resolution IS NULL)
) AS v
