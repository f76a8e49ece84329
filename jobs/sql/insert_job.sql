-- Accept one job. Guard: the owner's idempotency key is not open already.
-- Zero rows: that key has its job; read it. While another transaction is inserting the key this one waits,
-- for 2 s at most, then fails with 55P03: the key is still being accepted.
INSERT INTO jobs_job (
    id, owner_id, type, priority, status, accepted_as, payload, recipients, correlation_id, idempotency_key, idempotency_open,
    fingerprint, dedupe_key, dedupe_hash, attempts, max_attempts, deaths, run_at, expires_at, on_unknown, provider,
    in_doubt, pushed_at, created_at, updated_at)
SELECT
    %(id)s, %(owner_id)s, %(type)s, %(priority)s,
    due.status, due.status,
    %(payload)s::jsonb, %(recipients)s::jsonb, %(correlation_id)s, %(idempotency_key)s::text,
    %(idempotency_key)s::text IS NOT NULL,
    %(fingerprint)s, %(dedupe_key)s::text, %(dedupe_hash)s, 0, %(max_attempts)s, 0, due.at,
    %(expires_at)s::timestamptz, %(on_unknown)s, %(provider)s::text, false,
    CASE WHEN due.status = 'queued' THEN now() END, now(), now()
FROM (SELECT t.at, CASE WHEN t.at > now() THEN 'scheduled' ELSE 'queued' END AS status
      FROM (SELECT coalesce(%(run_at)s::timestamptz,
                            now() + make_interval(secs => coalesce(%(delay_seconds)s::float8, 0))) AS at) AS t) AS due,
     set_config('lock_timeout', '2s', true) AS patience
ON CONFLICT (owner_id, idempotency_key) WHERE idempotency_open DO NOTHING
RETURNING id, status, created_at, run_at
