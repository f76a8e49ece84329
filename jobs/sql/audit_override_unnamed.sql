-- Whoever had a message sent once more is named, with the reason; and the job stands under a hash that is made of such a
-- record (override_jobs).
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j
    WHERE EXISTS (SELECT FROM jobs_deadletter AS l WHERE l.job_id = j.id AND l.resolution = 'override')
      AND NOT EXISTS (
          SELECT FROM jobs_deadletter AS l
          WHERE l.job_id = j.id AND l.resolution = 'override' AND l.resolved_by_id IS NOT NULL AND l.note <> ''
            AND j.dedupe_hash = decode(md5('override ' || l.id || ' ' || j.id), 'hex'))
) AS v
