-- Who decided what, when and why. Guard: undecided. Missing rows: somebody was first.
UPDATE jobs_deadletter SET
    resolution = %(resolution)s, resolved_at = now(), resolved_by_id = %(by)s::int, note = %(note)s
WHERE id = ANY(%(dead_letters)s::bigint[]) AND coalesce(resolution, '') = ''
RETURNING id
