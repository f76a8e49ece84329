-- Unknowns whose job says what to do without a person. `resend` waits until the zombie's own wait for a
-- reply is over, and only while the budget lasts.
SELECT l.id, j.on_unknown
FROM jobs_job AS j
JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash AND d.state = 'unknown' AND d.job_id = j.id
JOIN jobs_deadletter AS l ON l.job_id = j.id AND l.claim = d.claim AND l.reason = 'unknown' AND l.resolution IS NULL
WHERE j.status = 'unknown' AND j.held_behind IS NULL
  AND (j.on_unknown = 'assume_sent'
       OR (j.on_unknown = 'resend' AND j.attempts < j.max_attempts
           AND d.dot_at < now() - make_interval(secs => %(patience)s::float8)))
ORDER BY l.id
LIMIT %(limit)s
