-- Its webhook has a job, or cannot have one and says why. Guard: not told; its row is locked since it was seen.
UPDATE jobs_batch SET told_at = now(), told_by = %(job_id)s::uuid, untold_because = %(because)s::text
WHERE id = %(id)s AND told_at IS NULL
RETURNING id
