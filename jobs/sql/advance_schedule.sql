-- On to the next time; without one it rests. Guard: due at the very time that was seen, so not paused. Zero rows: somebody
-- else moved it, and nothing of this transaction may stay.
UPDATE jobs_schedule
SET next_at = %(next_at)s::timestamptz,
    paused = %(next_at)s::timestamptz IS NULL,
    pause_reason = CASE WHEN %(next_at)s::timestamptz IS NULL THEN 'There is no further time.' ELSE '' END,
    last_at = coalesce(%(last_at)s::timestamptz, last_at),
    last_job_id = coalesce(%(last_job_id)s::uuid, last_job_id),
    updated_at = now()
WHERE id = %(id)s AND next_at = %(expected)s
RETURNING id
