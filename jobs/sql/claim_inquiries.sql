-- Open unknowns of one provider whose next question is due, claimed for asking: by its time nobody else asks right now.
-- Due: so long after the burial, or the last question, as `waits` says for the number of questions so far; and once
-- more when the patience is over, from when on a "no" counts: each `again` seconds until there is an answer, or the time
-- is over in which a policy waits for one. After the last wait nobody asks any more.
-- Guard: undecided, and not asked within the least wait. Zero rows: nothing to ask.
-- OFFSET 0: job and delivery are looked up letter by letter; a join would read whole tables when many are unknown.
WITH due AS (
    SELECT l.id
    FROM jobs_deadletter AS l
    CROSS JOIN LATERAL (
        SELECT j.dedupe_hash, j.on_unknown FROM jobs_job AS j
        WHERE j.id = l.job_id AND j.status || '' = 'unknown' AND j.held_behind IS NULL OFFSET 0
    ) AS j
    CROSS JOIN LATERAL (
        SELECT d.dot_at + make_interval(secs => %(patience)s::float8) AS patience_ends FROM jobs_delivery AS d
        WHERE d.dedupe_hash = j.dedupe_hash AND d.job_id = l.job_id AND d.claim = l.claim AND d.state = 'unknown'
          AND d.provider = %(provider)s::text OFFSET 0
    ) AS d
    WHERE l.reason = 'unknown' AND l.resolution IS NULL AND l.asks < cardinality(%(waits)s::float8[])
      AND coalesce(l.asked_at, l.died_at) < now() - make_interval(secs => (%(waits)s::float8[])[1])
      AND (coalesce(l.asked_at, l.died_at) < now() - make_interval(secs => (%(waits)s::float8[])[l.asks + 1])
           OR (d.patience_ends <= now() AND l.asked_at < d.patience_ends)
           OR (d.patience_ends <= now() AND l.asked_at < now() - make_interval(secs => %(again)s::float8)
               AND greatest(d.patience_ends, l.died_at) > now() - make_interval(secs => %(asking)s::float8)
               AND j.on_unknown <> 'hold'
               AND NOT EXISTS (SELECT FROM jsonb_array_elements(l.evidence) AS e
                               WHERE (e ->> 'answered')::bool AND (e ->> 'asked_at')::timestamptz >= d.patience_ends)))
    ORDER BY coalesce(l.asked_at, l.died_at)
    LIMIT %(limit)s
), mine AS (
    SELECT l.id FROM jobs_deadletter AS l
    WHERE l.id = ANY(ARRAY(SELECT id FROM due)) AND coalesce(l.resolution, '') = ''
      AND coalesce(l.asked_at, l.died_at) < now() - make_interval(secs => (%(waits)s::float8[])[1])
    FOR UPDATE SKIP LOCKED
), asked AS (
    UPDATE jobs_deadletter AS l SET asked_at = now(), asks = l.asks + 1
    WHERE l.id = ANY(ARRAY(SELECT id FROM mine))
    RETURNING l.id, l.job_id, l.claim, l.asked_at
)
SELECT a.id AS dead_letter, a.asked_at, d.dot_at + make_interval(secs => %(patience)s::float8) <= now() AS is_dot_over,
       j.id, a.claim, j.dedupe_hash, j.type, j.payload, j.attempts, j.max_attempts, j.priority, j.provider,
       j.correlation_id, d.claimed_at, j.deaths, j.owner_id
FROM asked AS a
CROSS JOIN LATERAL (SELECT * FROM jobs_job AS j WHERE j.id = a.job_id OFFSET 0) AS j
CROSS JOIN LATERAL (SELECT * FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash OFFSET 0) AS d
