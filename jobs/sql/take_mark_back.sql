-- After a 4xx to the dot, before another provider is tried (trace 12). Guard: this claim, marked.
-- Missing tokens: declared dead meanwhile; settle as transient.
UPDATE jobs_delivery AS d SET state = 'claimed'
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[]) AS b(hash, claim)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state = 'dot'
RETURNING d.claim
