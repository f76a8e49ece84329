-- Free the rows of these claims that were never marked.
UPDATE jobs_delivery AS d SET state = 'released', claim = NULL, settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[]) AS b(hash, claim)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state = 'claimed'
RETURNING b.claim
