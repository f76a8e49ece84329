-- Put back without spending an attempt. Guard: running, this claim, and not marked under it (K1).
-- Missing tokens: not ours, nothing to do.
UPDATE jobs_job AS j SET
    status = 'scheduled', run_at = now() + make_interval(secs => b.wait), attempts = greatest(j.attempts - 1, 0),
    updated_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(waits)s::float8[]) AS b(id, claim, wait)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
  AND (SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash AND d.claim = j.claim)
      IS DISTINCT FROM 'dot'
RETURNING j.claim
