-- The destinations that these jobs name, as they are now. Missing jobs: theirs is not there any more.
SELECT j.id AS job_id, d.name, d.kind, d.sealed, d.disabled_at IS NOT NULL AS is_disabled
FROM jobs_job AS j
JOIN jobs_destination AS d ON d.owner_id = j.owner_id AND d.name = j.payload ->> 'destination'
WHERE j.id = ANY(%(ids)s::uuid[])
