-- One dead letter per episode.
INSERT INTO jobs_deadletter (job_id, owner_id, type, reason, error, claim, died_at)
SELECT j.id, j.owner_id, j.type, b.reason, j.last_error, b.claim, now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(reasons)s::text[]) AS b(id, claim, reason)
JOIN jobs_job AS j ON j.id = b.id
ON CONFLICT (job_id, claim, reason) DO NOTHING
RETURNING id, job_id, reason
