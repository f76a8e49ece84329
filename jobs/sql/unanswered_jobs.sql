-- The jobs of the rows that unanswered_deliveries moved.
UPDATE jobs_job AS j SET status = 'unknown', last_error = b.error, updated_at = now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(errors)s::jsonb[]) AS b(id, claim, error)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
RETURNING j.claim
