-- Held jobs whose key was dropped: the key stays closed, so they are dead letters that point at it (trace 10).
WITH closed AS (
    SELECT j.id FROM jobs_job AS j
    JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash
    WHERE j.status = 'unknown' AND j.held_behind IS NOT NULL AND d.state = 'dropped'
    ORDER BY j.id
    LIMIT %(limit)s
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job AS j SET
    status = 'failed', finished_at = now(), updated_at = now(), held_behind = NULL,
    last_error = jsonb_build_object('kind', 'dropped', 'code', NULL,
                                    'detail', 'Job ' || j.held_behind || ' of the same key was dropped.')
FROM closed WHERE j.id = closed.id
RETURNING j.id, j.claim
