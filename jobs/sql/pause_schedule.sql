-- No job is made any more, and times that pass count as missed by nobody. Guard: not paused. Zero rows: it is.
UPDATE jobs_schedule SET paused = true, next_at = NULL, pause_reason = %(reason)s, updated_at = now()
WHERE id = %(id)s AND NOT paused
RETURNING id
