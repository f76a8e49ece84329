-- The promise: of one key, no more messages were accepted than one, and one for each "send again" and each override.
-- By the client's key and not by its hash, since an override gives the job a hash of its own.
WITH told AS (
    SELECT k.owner_id, coalesce(k.dedupe_key, k.id::text) AS key, a.claim AS message, NULL::bigint AS permission
    FROM jobs_attempt AS a JOIN jobs_job AS k ON k.id = a.job_id
    WHERE a.outcome = 'sent'
    UNION ALL
    SELECT k.owner_id, coalesce(k.dedupe_key, k.id::text), NULL, l.id
    FROM jobs_deadletter AS l JOIN jobs_job AS k ON k.id = l.job_id
    WHERE l.resolution IN ('send_again', 'override')
), too_many AS (
    SELECT owner_id, key FROM told GROUP BY owner_id, key HAVING count(DISTINCT message) > 1 + count(DISTINCT permission)
)
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT j.id FROM jobs_job AS j JOIN too_many AS t ON t.owner_id = j.owner_id AND t.key = coalesce(j.dedupe_key, j.id::text)
    WHERE EXISTS (SELECT FROM jobs_attempt AS a WHERE a.job_id = j.id AND a.outcome = 'sent')
) AS v
