-- A completed job was sent itself, or another of its key was. Decided by a person counts as sent.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j LEFT JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash
    WHERE j.status = 'completed'
      AND (d.state IS DISTINCT FROM 'sent' OR d.job_id IS DISTINCT FROM coalesce(j.duplicate_of, j.id))
) AS v
