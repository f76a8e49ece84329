-- How dead letters stand, and what requeueing each would come to. Reads only: without the jobs' locks it is a
-- preview; each move decides anew by its own guard.
SELECT l.id, l.job_id, j.priority, j.lane, j.dedupe_hash, l.resolution, d.job_id AS holder,
    CASE
        WHEN l.resolution IS NOT NULL THEN 'already_decided'
        WHEN l.reason = 'unknown' THEN
            CASE WHEN j.status || '' = 'unknown' AND d.state = 'unknown' AND d.claim = l.claim THEN 'unknown'
                 ELSE 'already_decided' END
        WHEN j.status || '' <> 'failed' THEN 'already_decided'
        WHEN l.reason = 'dropped' OR d.state = 'dropped' THEN 'dropped'
        WHEN j.payload IS NULL THEN 'no_payload'
        WHEN j.expires_at < now() THEN 'expired'
        WHEN d.state = 'sent' THEN 'already_sent'
        WHEN d.state IN ('claimed', 'dot', 'unknown') THEN 'in_flight'
        ELSE 'would_send'
    END AS outlook
FROM jobs_deadletter AS l
JOIN jobs_job AS j ON j.id = l.job_id
LEFT JOIN jobs_delivery AS d ON d.dedupe_hash = j.dedupe_hash
WHERE l.id = ANY(%(dead_letters)s::bigint[])
ORDER BY l.id
