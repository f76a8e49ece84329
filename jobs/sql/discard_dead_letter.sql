-- Put aside for good. Guard: undecided, and not an unknown: those are dropped through `resolve`.
UPDATE jobs_deadletter SET resolution = 'discarded', resolved_at = now(), resolved_by_id = %(by)s::int
WHERE id = %(dead_letter)s AND resolution IS NULL AND reason <> 'unknown'
RETURNING id
