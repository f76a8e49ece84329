-- Queued jobs that were pushed before what waits at the head of their list: lost on the way.
-- An empty list has lost whatever is older than now; of a head that is all stale nothing can be said until it moves.
-- `pushed_at` moves first, so that a job is not found lost again on every round (trace 18).
WITH lost AS (
    SELECT j.id FROM jobs_job AS j
    WHERE j.status = 'queued' AND j.lane = %(lane)s AND j.priority = %(priority)s
      AND j.pushed_at < CASE WHEN cardinality(%(head)s::uuid[]) = 0 THEN now()
                             ELSE (SELECT min(h.pushed_at) FROM jobs_job AS h
                                   WHERE h.id = ANY(%(head)s::uuid[]) AND h.status || '' = 'queued') END
                        - make_interval(secs => %(grace)s::float8)
    ORDER BY j.pushed_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job AS j SET pushed_at = now()
WHERE j.id = ANY(ARRAY(SELECT id FROM lost))
RETURNING j.id, j.priority, j.lane
