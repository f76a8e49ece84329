-- The destinations that these jobs name, as they are now. Missing jobs: theirs is not there any more.
WITH named AS MATERIALIZED (  -- first: nobody's jobs are read by their owner
    SELECT id, owner_id, payload ->> 'destination' AS destination FROM jobs_job WHERE id = ANY(%(ids)s::uuid[])
)
SELECT n.id AS job_id, d.name, d.kind, d.sealed, d.disabled_at IS NOT NULL AS is_disabled
FROM named AS n
JOIN jobs_destination AS d ON d.owner_id = n.owner_id AND d.name = n.destination
