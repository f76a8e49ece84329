-- Addresses get no more mail of this owner. Guard: they are not on the list for this topic already. Missing rows: they
-- are, and what was written first stands. In their order, so that of two that add the same ones, one waits for the other.
INSERT INTO jobs_suppression (owner_id, address, topic, reason, detail, job_id, created_at)
SELECT %(owner_id)s::int, a.address, %(topic)s::text, %(reason)s::text, %(detail)s::text, %(job_id)s::uuid, now()
FROM unnest(%(addresses)s::text[]) AS a(address)
ORDER BY a.address
ON CONFLICT (owner_id, address, topic) DO NOTHING
RETURNING id
