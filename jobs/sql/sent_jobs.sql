-- The jobs of the rows that sent_deliveries moved. `failed` can only be a dropped one here.
-- One that runs under a newer claim is left alone: its gate finds its own `sent`.
UPDATE jobs_job AS j SET
    status = 'completed', finished_at = now(), updated_at = now(), result = b.result::jsonb, last_error = NULL,
    in_doubt = false
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(results)s::text[]) AS b(id, claim, result)
WHERE j.id = b.id AND j.held_behind IS NULL
  AND ((j.status || '' = 'running' AND j.claim = b.claim) OR j.status || '' IN ('unknown', 'queued', 'scheduled', 'failed'))
RETURNING j.claim
