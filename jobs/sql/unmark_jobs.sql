-- The jobs of the rows that unmark_deliveries freed.
UPDATE jobs_job AS j SET
    status = 'scheduled', run_at = now() + make_interval(secs => %(wait)s::float8),
    attempts = greatest(j.attempts - 1, 0), updated_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
WHERE j.id = b.id AND ((j.status || '' = 'running' AND j.claim = b.claim) OR j.status || '' = 'unknown')
RETURNING j.claim
