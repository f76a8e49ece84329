-- Claim: queued jobs become ours under a token that is never used again; expired ones end here.
-- Guard: queued. A job in doubt does not expire: an earlier dot of it may still be accepted (trace 9).
-- Missing rows: another's, cancelled or stale; drop the id.
WITH mine AS (
    SELECT id, (expires_at < now() AND NOT in_doubt) IS TRUE AS too_old  -- of the row as locked, not as first seen
    FROM jobs_job
    WHERE id = ANY(%(ids)s::uuid[]) AND status || '' = 'queued'
    ORDER BY id
    FOR UPDATE
), tokens AS (
    SELECT id, nextval('claims') AS token, too_old FROM mine
)
UPDATE jobs_job AS j SET
    status = CASE WHEN t.too_old THEN 'expired' ELSE 'running' END,
    finished_at = CASE WHEN t.too_old THEN now() END,
    worker = CASE WHEN t.too_old THEN NULL ELSE %(worker)s::uuid END,
    attempts = j.attempts + CASE WHEN t.too_old THEN 0 ELSE 1 END,
    claim = t.token,
    updated_at = now()
FROM tokens AS t
WHERE j.id = t.id
RETURNING j.id, j.claim, j.status, j.dedupe_hash, j.type, j.payload, j.attempts, j.max_attempts, j.priority,
          j.provider, j.correlation_id, j.deaths, j.owner_id, now() AS claimed_at
