-- The promise: of one key, no more messages were accepted than one and one for each "send again".
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j
    WHERE j.dedupe_hash IN (
        SELECT k.dedupe_hash FROM jobs_job AS k JOIN jobs_attempt AS a ON a.job_id = k.id AND a.outcome = 'sent'
        GROUP BY k.dedupe_hash
        HAVING count(DISTINCT a.claim) > 1 + (
            SELECT count(*) FROM jobs_deadletter AS l JOIN jobs_job AS o ON o.id = l.job_id
            WHERE o.dedupe_hash = k.dedupe_hash AND l.resolution = 'send_again'))
      AND EXISTS (SELECT FROM jobs_attempt AS a WHERE a.job_id = j.id AND a.outcome = 'sent')
) AS v
