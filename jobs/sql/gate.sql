-- The gate, L2: one delivery row per key, taken only for a job that is locked and still ours (trace 3),
-- and only when the row is free (trace 4). One row per key in a batch (trace 14).
-- Missing tokens: read what stands there (gate_standing).
WITH wanted AS (
    SELECT j.id, j.claim, j.dedupe_hash
    FROM jobs_job AS j
    JOIN unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim) ON j.id = b.id AND j.claim = b.claim
    WHERE j.status || '' = 'running'
    ORDER BY j.id
    FOR SHARE OF j
), one_per_key AS (
    SELECT DISTINCT ON (dedupe_hash) id, claim, dedupe_hash FROM wanted AS w
    -- Only to spare locks: ON CONFLICT would wait for, and lock, rows that others are busy with.
    WHERE coalesce((SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = w.dedupe_hash), 'released') = 'released'
    ORDER BY dedupe_hash, id
)
INSERT INTO jobs_delivery AS d (dedupe_hash, job_id, claim, state, claimed_at)
SELECT dedupe_hash, id, claim, 'claimed', now() FROM one_per_key ORDER BY dedupe_hash
ON CONFLICT (dedupe_hash) DO UPDATE
    SET job_id = excluded.job_id, claim = excluded.claim, state = 'claimed', claimed_at = now(),
        settled_at = NULL
    WHERE d.state = 'released'
RETURNING claim
