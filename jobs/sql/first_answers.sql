-- What the requests with these idempotency keys, each of its owner, were answered first, as long as their windows are
-- open. One by one, so that each is looked up in the index of open keys, however small the table seems.
SELECT j.id, j.owner_id, j.fingerprint, j.accepted_as, j.idempotency_key
FROM unnest(%(owners)s::int[], %(keys)s::text[]) AS wanted (owner_id, key)
CROSS JOIN LATERAL (
    SELECT * FROM jobs_job
    WHERE owner_id = wanted.owner_id AND idempotency_key = wanted.key AND idempotency_open
    LIMIT 1
) AS j
