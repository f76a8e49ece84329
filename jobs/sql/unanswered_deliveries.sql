-- The dot was written and no answer came. Guard: this claim, marked. Missing tokens: already so.
UPDATE jobs_delivery AS d SET state = 'unknown', settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[]) AS b(hash, claim)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state = 'dot'
RETURNING d.claim
