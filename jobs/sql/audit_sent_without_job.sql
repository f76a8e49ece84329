-- What was sent has its job completed. One that ran on under a newer claim (a late reply) may not have come to its
-- gate yet, which will find the `sent`.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_delivery AS d JOIN jobs_job AS j ON j.id = d.job_id
    WHERE d.state = 'sent' AND j.status <> 'completed'
      AND NOT (j.status IN ('scheduled', 'queued', 'running') AND j.claim > d.claim)
) AS v
