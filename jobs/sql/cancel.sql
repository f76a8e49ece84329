-- Guard: not yet taken (or held beside an unknown), and not in doubt. Zero rows: too late.
UPDATE jobs_job SET status = 'cancelled', finished_at = now(), updated_at = now(), held_behind = NULL, result = NULL
WHERE id = %(id)s AND owner_id = %(owner_id)s AND NOT in_doubt
  AND (status IN ('scheduled', 'queued') OR (status = 'unknown' AND held_behind IS NOT NULL))
RETURNING id
