-- The mark's answer was lost and no dot was written: free the row, marked or not, declared dead or not.
-- Guard: this claim, and the job is running under it or unknown. Missing tokens: somebody decided; nothing.
UPDATE jobs_delivery AS d SET state = 'released', claim = NULL, settled_at = now()
FROM unnest(%(ids)s::uuid[], %(hashes)s::bytea[], %(claims)s::bigint[]) AS b(id, hash, claim)
JOIN jobs_job AS j ON j.id = b.id
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state IN ('claimed', 'dot', 'unknown')
  AND ((j.status || '' = 'running' AND j.claim = b.claim) OR j.status || '' = 'unknown')
RETURNING b.claim
