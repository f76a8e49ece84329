-- Rescue, step 3: the jobs, by what their deliveries returned.
UPDATE jobs_job AS j SET
    status = b.status, deaths = j.deaths + %(deaths)s::int, updated_at = now(),
    finished_at = CASE WHEN b.status = 'failed' THEN now() END,
    pushed_at = CASE WHEN b.status = 'queued' THEN now() ELSE j.pushed_at END,
    last_error = coalesce(b.error, j.last_error)
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(statuses)s::text[], %(errors)s::jsonb[])
    AS b(id, claim, status, error)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
RETURNING j.id, j.claim, j.status, j.priority
