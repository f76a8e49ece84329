-- What may be repeated is done: the mark and the settlement at once. Guard: this claim, still claimed.
-- Missing tokens: declared dead meanwhile; write history only, and it is done again.
UPDATE jobs_delivery AS d SET state = 'sent', dot_at = now(), provider = b.provider, settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[], %(providers)s::text[]) AS b(hash, claim, provider)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state = 'claimed'
RETURNING d.claim
