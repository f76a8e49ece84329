-- A person decides about one episode. Guard: still unknown, and the very claim that the dead letter names (trace 16).
-- Zero rows: somebody, or a late reply, was first.
UPDATE jobs_delivery AS d SET
    state = CASE %(decision)s::text WHEN 'mark_sent' THEN 'sent' WHEN 'drop' THEN 'dropped' ELSE 'released' END,
    settled_at = now()
FROM jobs_deadletter AS l, jobs_job AS j
WHERE l.id = %(dead_letter)s AND j.id = l.job_id AND d.dedupe_hash = j.dedupe_hash AND d.job_id = j.id
  AND d.state = 'unknown' AND d.claim = l.claim AND l.resolution IS NULL
RETURNING d.dedupe_hash, j.id
