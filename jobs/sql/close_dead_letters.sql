-- The answer came after all: the open unknowns of these claims are closed by it.
UPDATE jobs_deadletter AS l SET resolution = 'late_reply', resolved_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
WHERE l.job_id = b.id AND l.claim = b.claim AND l.reason = 'unknown' AND l.resolution IS NULL
RETURNING l.id
