-- Rescue, step 2: what was marked is unknown, what was not is free. `final` and in doubt: unknown (trace 9).
-- Guard: this claim, claimed or marked. Missing tokens: died before the gate.
UPDATE jobs_delivery AS d SET
    state = CASE WHEN d.state = 'dot' OR b.doubtful_end THEN 'unknown' ELSE 'released' END,
    claim = CASE WHEN d.state = 'dot' OR b.doubtful_end THEN d.claim END,
    dot_at = CASE WHEN b.doubtful_end THEN coalesce(d.dot_at, now()) ELSE d.dot_at END,
    settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(claims)s::bigint[], %(doubtful_ends)s::bool[]) AS b(hash, claim, doubtful_end)
WHERE d.dedupe_hash = b.hash AND d.claim = b.claim AND d.state IN ('claimed', 'dot')
RETURNING b.claim, d.state
