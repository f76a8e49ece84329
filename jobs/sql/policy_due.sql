-- Unknowns whose job says what to do without a person, once even a zombie's own wait for a reply is over:
-- until then the other side's word may come and is better. `resend` only while the budget lasts.
-- A provider that can be asked is asked once more when that wait is over: the policy counts when its answer is written
-- down, or when `asking` has passed without one.
-- OFFSET 0: delivery and dead letter are looked up job by job; a join would read whole tables when many are unknown.
SELECT l.id, j.on_unknown
FROM jobs_job AS j
CROSS JOIN LATERAL (
    SELECT d.claim, d.dot_at, d.provider FROM jobs_delivery AS d
    WHERE d.dedupe_hash = j.dedupe_hash AND d.job_id = j.id AND d.state = 'unknown' OFFSET 0
) AS d
CROSS JOIN LATERAL (
    SELECT l.id, l.died_at, l.evidence FROM jobs_deadletter AS l
    WHERE l.job_id = j.id AND l.claim = d.claim AND l.reason = 'unknown' AND coalesce(l.resolution, '') = '' OFFSET 0
) AS l
WHERE j.status = 'unknown' AND j.held_behind IS NULL
  AND (j.on_unknown = 'assume_sent' OR (j.on_unknown = 'resend' AND j.attempts < j.max_attempts))
  AND d.dot_at < now() - make_interval(secs => %(patience)s::float8)
  AND (NOT coalesce(d.provider = ANY(%(askable)s::text[]), false)
       OR EXISTS (SELECT FROM jsonb_array_elements(l.evidence) AS e
                  WHERE (e ->> 'answered')::bool
                    AND (e ->> 'asked_at')::timestamptz >= d.dot_at + make_interval(secs => %(patience)s::float8))
       OR greatest(d.dot_at + make_interval(secs => %(patience)s::float8), l.died_at)
          < now() - make_interval(secs => %(asking)s::float8))
ORDER BY l.id
LIMIT %(limit)s
