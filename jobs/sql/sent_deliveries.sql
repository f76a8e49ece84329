-- The other side has it. Guard: this claim; marked, declared unknown, sent again but not yet retaken, or dropped.
-- Missing tokens: already sent, or a newer claim stands; write history only.
UPDATE jobs_delivery AS d SET state = 'sent', settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[]) AS b(hash, claim)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state IN ('dot', 'unknown', 'released', 'dropped')
RETURNING d.claim
