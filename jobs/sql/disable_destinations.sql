-- Receivers that want no more. Guard: enabled, and not written anew since the job was claimed that found it out.
-- No rows: it is so already, or deleted.
UPDATE jobs_destination AS d SET disabled_at = now(), disabled_because = b.because, updated_at = now()
FROM unnest(%(ids)s::uuid[], %(claimed_ats)s::timestamptz[], %(reasons)s::text[]) AS b(id, claimed_at, because)
JOIN jobs_job AS j ON j.id = b.id
WHERE d.owner_id = j.owner_id AND d.name = j.payload ->> 'destination'
  AND d.disabled_at IS NULL AND d.updated_at < b.claimed_at
RETURNING d.id
