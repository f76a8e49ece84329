-- A new schedule. Guard: its owner has none of this name. Zero rows: there is one; read it.
INSERT INTO jobs_schedule (
    id, owner_id, name, cron, time_zone, missed, type, payload, options, next_at, paused, created_at, updated_at)
VALUES (
    %(id)s, %(owner_id)s, %(name)s, %(cron)s, %(time_zone)s, %(missed)s, %(type)s, %(payload)s::jsonb,
    %(options)s::jsonb, %(next_at)s, false, now(), now())
ON CONFLICT (owner_id, name) DO NOTHING
RETURNING id
