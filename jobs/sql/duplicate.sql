-- The key was sent: the job is complete without sending. Guard: running, this claim, and L2 says sent,
-- so a lie of L1 changes nothing. Missing tokens: not ours, or L1 lied; ask the gate.
UPDATE jobs_job AS j SET
    status = 'completed', finished_at = now(), updated_at = now(),
    duplicate_of = NULLIF(d.job_id, j.id),
    result = jsonb_strip_nulls(jsonb_build_object('duplicate_of', NULLIF(d.job_id, j.id)))
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim), jobs_delivery AS d
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
  AND d.dedupe_hash = j.dedupe_hash AND d.state = 'sent'
RETURNING j.claim
