-- The jobs of the rows that refused_deliveries moved: again later, or dead, or unknown.
UPDATE jobs_job AS j SET
    status = b.status,
    finished_at = CASE WHEN b.status = 'failed' THEN now() END,
    run_at = CASE WHEN b.status = 'scheduled' THEN now() + make_interval(secs => b.wait) ELSE j.run_at END,
    last_error = b.error, updated_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(statuses)s::text[], %(waits)s::float8[], %(errors)s::jsonb[])
    AS b(id, claim, status, wait, error)
WHERE j.id = b.id AND j.held_behind IS NULL
  AND ((j.status || '' = 'running' AND j.claim = b.claim) OR j.status || '' = 'unknown')
RETURNING j.claim
