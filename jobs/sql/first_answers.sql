-- What the requests with these idempotency keys of one owner were answered first, as long as their windows are open.
SELECT id, fingerprint, accepted_as, idempotency_key FROM jobs_job
WHERE owner_id = %(owner_id)s::int AND idempotency_key = ANY(%(keys)s::text[]) AND idempotency_open
