-- Rescue, step 3: the jobs, by what their deliveries returned.
UPDATE jobs_job AS j SET
    status = b.status, deaths = j.deaths + b.death, attempts = greatest(j.attempts - b.unspent, 0),
    updated_at = now(),
    finished_at = CASE WHEN b.status = 'failed' THEN now() END,
    pushed_at = CASE WHEN b.status = 'queued' THEN now() ELSE j.pushed_at END,
    last_error = coalesce(b.error, j.last_error)
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(statuses)s::text[], %(errors)s::jsonb[], %(deaths)s::int[],
            %(unspent)s::int[]) AS b(id, claim, status, error, death, unspent)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
RETURNING j.id, j.claim, j.status, j.priority, j.lane
