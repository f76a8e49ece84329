-- The gate, L2: one delivery row per key, taken only for a job that is locked and still ours (trace 3),
-- and only when the row is free (trace 4). One row per key in a batch (trace 14).
-- Not let in are those with a recipient on the suppression list (suppressed_recipients), unless `partly` says that it will
-- be left out. For the others that is one look into an index: what the job is about is only read when an address is found.
-- (OFFSET 0: as a join it would be planned for whole tables.)
-- Missing tokens: read what stands there (gate_standing).
WITH wanted AS (
    SELECT j.id, j.claim, j.dedupe_hash
    FROM jobs_job AS j
    JOIN unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim) ON j.id = b.id AND j.claim = b.claim
    WHERE j.status || '' = 'running'
      AND (%(partly)s::bool OR j.lane <> 'messages' OR NOT EXISTS (
          SELECT FROM jobs_suppression AS s
          WHERE s.owner_id = j.owner_id
            AND s.address = ANY(ARRAY(SELECT lower(r COLLATE "C") FROM jsonb_array_elements_text(j.recipients) AS r))
            AND CASE WHEN s.topic = '' THEN true ELSE s.topic = j.payload -> 'unsubscribe' ->> 'topic' END
          OFFSET 0))
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
