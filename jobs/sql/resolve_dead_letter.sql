-- Who decided what, and when. Guard: undecided.
UPDATE jobs_deadletter SET resolution = %(resolution)s, resolved_at = now(), resolved_by_id = %(by)s::int
WHERE id = %(dead_letter)s AND resolution IS NULL
RETURNING id
