-- Jobs of one key compete for one delivery row: they share one hash, save those that left it by a recorded override.
WITH keyed AS (
    SELECT j.id, j.owner_id, j.dedupe_key, j.dedupe_hash FROM jobs_job AS j
    WHERE j.dedupe_key IS NOT NULL
      AND NOT EXISTS (SELECT FROM jobs_deadletter AS l WHERE l.job_id = j.id AND l.resolution = 'override')
), split AS (
    SELECT owner_id, dedupe_key FROM keyed GROUP BY owner_id, dedupe_key HAVING min(dedupe_hash) <> max(dedupe_hash)
)
SELECT count(*) AS count, (array_agg(v.id::text ORDER BY v.id))[1:5] AS examples FROM (
    SELECT k.id FROM keyed AS k JOIN split AS s ON s.owner_id = k.owner_id AND s.dedupe_key = k.dedupe_key
) AS v
