-- The dot mark: committed just before the point of no return. Guard: this claim, still claimed.
-- Under K1 a claimed row means that its job is running under the same token. Missing tokens: no dot.
UPDATE jobs_delivery AS d SET state = 'dot', dot_at = now(), provider = b.provider
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[], %(providers)s::text[]) AS b(hash, claim, provider)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state = 'claimed'
RETURNING d.claim
