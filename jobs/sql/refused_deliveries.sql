-- Clearly not accepted: the row is free again. In doubt and final: an earlier dot may still have been
-- accepted, so both rows go (back) to unknown (trace 9).
-- Guard: this claim; before the mark `claimed`, after it `dot` or `unknown`. Missing tokens: history only.
UPDATE jobs_delivery AS d SET
    state = CASE WHEN b.final AND j.in_doubt THEN 'unknown' ELSE 'released' END,
    claim = CASE WHEN b.final AND j.in_doubt THEN d.claim END,
    dot_at = CASE WHEN b.final AND j.in_doubt THEN coalesce(d.dot_at, now()) ELSE d.dot_at END,
    settled_at = now()
FROM unnest(%(ids)s::uuid[], %(hashes)s::bytea[], %(claims)s::bigint[], %(finals)s::bool[], %(marked)s::bool[])
    AS b(id, hash, claim, final, marked)
JOIN jobs_job AS j ON j.id = b.id
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim
  AND ((j.status || '' = 'running' AND j.claim = b.claim) OR j.status || '' = 'unknown')
  AND CASE WHEN b.marked THEN d.state IN ('dot', 'unknown') ELSE d.state = 'claimed' END
RETURNING b.claim, d.state
