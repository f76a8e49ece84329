-- On from the next time that is to come. Guard: paused. Zero rows: it is not.
UPDATE jobs_schedule SET paused = false, next_at = %(next_at)s, pause_reason = '', updated_at = now()
WHERE id = %(id)s AND paused
RETURNING id
