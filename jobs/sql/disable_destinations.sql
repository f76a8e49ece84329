-- Receivers that want no more. Guard: enabled, and not written anew since the job was claimed that found it out.
-- No rows: it is so already, or deleted.
WITH named AS MATERIALIZED (  -- first: nobody's jobs are read by their owner
    SELECT j.owner_id, j.payload ->> 'destination' AS destination, b.claimed_at, b.because
    FROM unnest(%(ids)s::uuid[], %(claimed_ats)s::timestamptz[], %(reasons)s::text[]) AS b(id, claimed_at, because)
    JOIN jobs_job AS j ON j.id = b.id
)
UPDATE jobs_destination AS d SET disabled_at = now(), disabled_because = n.because, updated_at = now()
FROM named AS n
WHERE d.owner_id = n.owner_id AND d.name = n.destination AND d.disabled_at IS NULL AND d.updated_at < n.claimed_at
RETURNING d.id
