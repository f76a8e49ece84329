-- Open unknowns of which an email service has told something that it only tells of mails it has taken, among the next
-- `limit` dead letters above `after`. The last row of a page tells where the next begins; `told` is null where nothing
-- was told. Guard: undecided, job and delivery still unknown under the same claim. Not of a job that was sent before,
-- by an override: what is told may be of that mail.
-- OFFSET 0: job, delivery and events are looked up letter by letter.
WITH page AS (
    SELECT id, job_id, claim FROM jobs_deadletter
    WHERE reason = 'unknown' AND resolution IS NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s
)
SELECT p.id AS dead_letter, w.*
FROM page AS p
LEFT JOIN LATERAL (
    SELECT e.kind AS told, e.esp, e.at, e.received_at, d.provider AS marked_for, d.claimed_at,
           j.id, p.claim, j.dedupe_hash, j.type, j.payload, j.attempts, j.max_attempts, j.priority, j.provider,
           j.correlation_id, j.traceparent, j.deaths, j.owner_id
    FROM (SELECT * FROM jobs_event WHERE job_id = p.job_id
          AND kind IN ('sent', 'delivered', 'deferred', 'bounced', 'complained') ORDER BY id LIMIT 1) AS e
    CROSS JOIN LATERAL (
        SELECT * FROM jobs_job WHERE id = p.job_id AND status || '' = 'unknown' AND held_behind IS NULL OFFSET 0
    ) AS j
    CROSS JOIN LATERAL (
        SELECT * FROM jobs_delivery
        WHERE dedupe_hash = j.dedupe_hash AND job_id = j.id AND claim = p.claim AND state = 'unknown' OFFSET 0
    ) AS d
    WHERE NOT EXISTS (SELECT FROM jobs_attempt WHERE job_id = p.job_id AND outcome = 'sent')
) AS w ON true
ORDER BY p.id
