-- What stands at the gate for claims that were not let in. No row for a claim: it is no longer ours, or it has
-- passed the gate before (the row is its own); put back, its row would stay taken without a running job (K1).
SELECT j.claim, d.state
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
JOIN jobs_job AS j ON j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash AND d.claim IS DISTINCT FROM j.claim
