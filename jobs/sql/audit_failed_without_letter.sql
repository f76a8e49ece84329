-- A failed job is among the dead letters: open, put aside, or dropped. Never silently.
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j
    WHERE j.status = 'failed'
      AND NOT EXISTS (SELECT FROM jobs_deadletter AS l
                      WHERE l.job_id = j.id AND (l.resolution IS NULL OR l.resolution IN ('discarded', 'drop')))
) AS v
