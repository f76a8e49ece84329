-- The answer came after all: the open unknowns of these claims are closed by it.
-- coalesce: found by job and claim, never through the index of all open ones.
UPDATE jobs_deadletter AS l SET resolution = 'late_reply', resolved_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
WHERE l.job_id = b.id AND l.claim = b.claim AND l.reason = 'unknown' AND coalesce(l.resolution, '') = ''
RETURNING l.id
