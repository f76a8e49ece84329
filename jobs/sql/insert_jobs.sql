-- Accept jobs, the members of one JSON array. Guard, for each: the owner's idempotency key is not open already.
-- Missing ids: their key has its job; read it. While another transaction is inserting one of the keys this one waits,
-- for so long as its patience says, then fails with 55P03: the key is still being accepted. In the order of their keys,
-- so that of two that insert the same ones, one waits for the other.
INSERT INTO jobs_job (
    id, owner_id, batch_id, type, lane, priority, status, accepted_as, payload, recipients, correlation_id, idempotency_key,
    idempotency_open, fingerprint, dedupe_key, dedupe_hash, attempts, max_attempts, deaths, run_at, expires_at, on_unknown,
    provider, traceparent, in_doubt, pushed_at, created_at, updated_at)
SELECT
    j.id, j.owner_id, %(batch_id)s::uuid, j.type, j.lane, j.priority, due.status, due.status, j.payload, j.recipients,
    j.correlation_id, j.idempotency_key, j.idempotency_key IS NOT NULL, decode(j.fingerprint, 'hex'), j.dedupe_key,
    decode(j.dedupe_hash, 'hex'), 0, j.max_attempts, 0, due.at, j.expires_at, j.on_unknown, j.provider, j.traceparent, false,
    CASE WHEN due.status = 'queued' THEN now() END, now(), now()
FROM json_to_recordset(%(jobs)s::json) AS j(
         id uuid, owner_id int, type text, lane text, priority text, payload jsonb, recipients jsonb, correlation_id text,
         idempotency_key text, fingerprint text, dedupe_key text, dedupe_hash text, max_attempts smallint, run_at timestamptz, delay_seconds float8,
         expires_at timestamptz, on_unknown text, provider text, traceparent text)
CROSS JOIN LATERAL (
    SELECT t.at, CASE WHEN t.at > now() THEN 'scheduled' ELSE 'queued' END AS status
    FROM (SELECT coalesce(j.run_at, now() + make_interval(secs => coalesce(j.delay_seconds, 0))) AS at) AS t
) AS due
CROSS JOIN set_config('lock_timeout', %(patience)s::text, true) AS patience
ORDER BY j.owner_id, j.idempotency_key, j.id
ON CONFLICT (owner_id, idempotency_key) WHERE idempotency_open DO NOTHING
RETURNING id, status
