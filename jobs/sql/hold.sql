-- The key's outcome is unknown (or was dropped): wait beside it. Guard: running, this claim.
-- The clock wakes it by level (trace 8). Missing tokens: not ours, or it was decided meanwhile; put back.
UPDATE jobs_job AS j SET
    status = 'unknown', held_behind = d.job_id, updated_at = now(),
    result = jsonb_build_object('held_behind', d.job_id)
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim), jobs_delivery AS d
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
  AND d.dedupe_hash = j.dedupe_hash AND d.state IN ('unknown', 'dropped')
RETURNING j.claim
