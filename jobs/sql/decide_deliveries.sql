-- Episodes are decided. Guard: still unknown, the very claim that the dead letter names (trace 16), and its job unknown,
-- not merely held (K2). Missing rows: somebody, or a late reply, was first.
UPDATE jobs_delivery AS d SET
    state = CASE %(decision)s::text WHEN 'mark_sent' THEN 'sent' WHEN 'drop' THEN 'dropped' ELSE 'released' END,
    settled_at = now()
FROM unnest(%(hashes)s::bytea[], %(dead_letters)s::bigint[]) AS b(hash, dead_letter)
JOIN jobs_deadletter AS l ON l.id = b.dead_letter
JOIN jobs_job AS j ON j.id = l.job_id
WHERE d.dedupe_hash = b.hash AND d.dedupe_hash = j.dedupe_hash AND d.job_id = j.id
  AND d.state = 'unknown' AND d.claim = l.claim AND coalesce(l.resolution, '') = ''
  AND j.status || '' = 'unknown' AND j.held_behind IS NULL
RETURNING l.id AS dead_letter, j.id
