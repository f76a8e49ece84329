-- Held jobs whose key was dropped: the key stays closed, so they are dead letters that point at it (trace 10).
WITH closed AS (
    SELECT j.id FROM jobs_job AS j
    WHERE j.status = 'unknown' AND j.held_behind IS NOT NULL
      AND (SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash) = 'dropped'
    ORDER BY j.dedupe_hash
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job AS j SET
    status = 'failed', finished_at = now(), updated_at = now(), held_behind = NULL, result = NULL,
    last_error = jsonb_build_object('kind', 'dropped', 'code', NULL,
                                    'detail', 'Job ' || j.held_behind || ' of the same key was dropped.')
WHERE j.id = ANY(ARRAY(SELECT id FROM closed))
RETURNING j.id, j.claim
